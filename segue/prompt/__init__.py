"""Request -> Prompt.  Pure: no clock, no randomness, no input or output."""
