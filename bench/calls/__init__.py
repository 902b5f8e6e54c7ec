"""Which functions are called, and with what: `python -m bench.calls`."""
