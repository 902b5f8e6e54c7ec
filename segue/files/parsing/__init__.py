"""What a file says: the text of an upload, read in a process that can do nothing else.  Begin with `parser.py`."""
