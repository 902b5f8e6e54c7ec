"""Chunks -> pieces of an answer.  Pure state machines."""
