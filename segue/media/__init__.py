"""Pictures and videos of conversations: fetched, judged and decoded under limits.  Begin with `gallery.py`."""
