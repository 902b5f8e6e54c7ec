"""A process that can compute and say what it found, and nothing else: what hostile bytes are read in."""
