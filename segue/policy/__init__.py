"""May this caller do this, now?  Do the fields agree?"""
