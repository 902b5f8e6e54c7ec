"""Segue: an open, self-hosted server for Alibaba Model Studio's text-generation API.

The package reads from the outside in: `pipeline` tells the whole story on one screen, `app`
builds everything, and each folder answers one question (docs/ARCHITECTURE.md names them).
"""

__version__ = "0.1.0"
