"""Questions about real manuals: `python -m bench.manuals`."""
