"""Measurements of Segue against stated targets; `python -m bench` runs them all.  See docs/benchmarks.md."""
