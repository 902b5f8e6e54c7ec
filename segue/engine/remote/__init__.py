"""Engines that run elsewhere, over HTTP."""
