"""Batches: requests in a file, answered when nobody else asks."""
