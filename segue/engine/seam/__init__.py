"""Where the caller's prefix meets the model's answer: see `cover.py`."""
