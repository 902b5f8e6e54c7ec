"""The administration over HTTP: /admin/v1, which is ours alone."""
