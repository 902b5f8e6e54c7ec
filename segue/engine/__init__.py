"""Prompt -> Chunks.  Engines continue token ids; they know nothing of protocols or partial mode."""
