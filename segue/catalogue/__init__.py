"""Which models there are, what they are called, and where their files come from."""
