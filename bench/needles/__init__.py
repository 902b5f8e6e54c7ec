"""Sentences hidden in long texts, and whether they are found: `python -m bench.needles`."""
