"""How well an answer goes on from where its prefix ends: `python -m bench.continuation`."""
