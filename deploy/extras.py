"""Prints the locked entries of the named packages: `python deploy/extras.py requirements/dev.txt obstore redis`.

A container for several servers wants the drivers of the extras, at the versions and hashes that the tests ran with.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def entries(text: str, names: list[str]) -> str:
    """The entries of a list made by `make lock`, for these packages.  Raises KeyError for one that is not in it."""
    found = {
        each[1].lower(): each[0] for each in re.finditer(r"^([A-Za-z0-9._-]+)(?:\[\S+\])?==(?:.*\\\n)*.*\n", text, re.M)
    }
    return "".join(found[name.lower()] for name in names)


if __name__ == "__main__":
    sys.stdout.write(entries(Path(sys.argv[1]).read_text(), sys.argv[2:]))
