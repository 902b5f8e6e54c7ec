"""Workspaces and keys: the acts of whoever administers them, and what every request needs to know of them."""
