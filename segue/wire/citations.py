"""What was read of the documents, as both protocols write it for a caller who asked.

Law: `index` is the number that the model was shown, so that an answer that cites can be followed.
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.core.generation import Citation


def entries(citations: Sequence[Citation]) -> list[dict[str, object]]:
    """The list; a whole document is told without its text, which the caller has."""
    return [_entry(number, citation) for number, citation in enumerate(citations, 1)]


def _entry(number: int, citation: Citation) -> dict[str, object]:
    entry: dict[str, object] = {
        "index": number,
        "file_id": citation.file,
        "name": citation.name,
        "part": citation.label,
        "start": citation.start,
        "end": citation.end,
    }
    if citation.text:
        entry["text"] = citation.text
    return entry
