"""Tests.  What one of them does not name a folder for lies in one that is gone with the last of them."""

from __future__ import annotations

import atexit
import os
import tempfile

_MARK = "segue-tests-"

if _MARK not in os.environ.get("XDG_DATA_HOME", ""):  # processes that tests start have their parent's
    _data = tempfile.TemporaryDirectory(prefix=_MARK)
    atexit.register(_data.cleanup)
    os.environ["XDG_DATA_HOME"] = _data.name  # before `segue.config` is imported, which reads it
