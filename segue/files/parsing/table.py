"""A row of a table as a line of text: `| a | b |`, which people and models both read."""

from __future__ import annotations

from collections.abc import Iterable


def row_line(cells: Iterable[str]) -> str:
    """One line with its end; empty when no cell says anything.  Line ends within a cell become blanks."""
    texts = [" ".join(cell.split()) if "\n" in cell or "\t" in cell else cell.strip() for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return f"| {' | '.join(texts)} |\n" if texts else ""
