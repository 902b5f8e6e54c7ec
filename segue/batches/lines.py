"""The lines of a batch's file: whether they can be answered, and what each asks for.

Laws: a file is read line by line, never whole; what is wrong with it is told with the line, up to `TROUBLES_MAX`; all
lines ask the batch's endpoint, and one model.  It knows no field of a request but its model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from segue.core import frozen
from segue.core.batches import LineTrouble

TROUBLES_MAX = 100
ID_CHARS_MAX = 256

_decode = msgspec.json.Decoder().decode


@frozen
class LineLimits:
    """How many lines a file may have, and how many bytes each."""

    lines_max: int = 50_000
    line_bytes_max: int = 6 * 1024**2


@frozen
class Asked:
    """A line, its number from 1, and the body of its request."""

    number: int
    custom_id: str
    body: bytes


def asked(path: Path, limits: LineLimits) -> Iterator[Asked]:
    """The lines of a file that was checked."""
    for number, line in _lines(path, limits):
        entry = _entry(line)
        if entry is not None:
            yield Asked(number, str(entry["custom_id"]), msgspec.json.encode(entry["body"]))


def checked(
    path: Path, endpoint: str, limits: LineLimits, known: Callable[[str], bool]
) -> tuple[int, tuple[LineTrouble, ...]]:
    """How many lines a file has, and what is wrong with them; `known`: is a model of this name served?"""
    troubles: list[LineTrouble] = []
    seen: set[str] = set()
    model: str | None = None
    count = 0
    for number, line in _lines(path, limits):
        count += 1
        if count > limits.lines_max:
            said = f"The input file has more than {limits.lines_max} lines."
            return count, (*troubles, LineTrouble("too_many_lines", said, number))
        for code, said, param in _wrong(line, endpoint, limits, seen):
            troubles.append(LineTrouble(code, said, number, param))
        entry = _entry(line)
        if entry is not None:
            named = str(entry["body"].get("model", ""))  # type: ignore[attr-defined]
            if model is None:
                model = named
                if not known(named):
                    said = f"The provided model {named[:ID_CHARS_MAX]} is not supported by the Batch API."
                    troubles.append(LineTrouble("model_not_found", said, number, "body.model"))
            elif named != model:
                said = (
                    f"The model '{named[:ID_CHARS_MAX]}' for this request does not match the rest of the batch. Each "
                    "batch must contain requests for a single model."
                )
                troubles.append(LineTrouble("mismatched_model", said, number, "body.model"))
        if len(troubles) >= TROUBLES_MAX:
            break
    if not count:
        troubles.append(LineTrouble("empty_file", "The input file is empty.", 1))
    return count, tuple(troubles[:TROUBLES_MAX])


def _lines(path: Path, limits: LineLimits) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank; of one that is too long as much as shows that it is."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(limits.line_bytes_max + 2):
            number += 1
            while not line.endswith(b"\n") and len(line) > limits.line_bytes_max:
                rest = file.readline(limits.line_bytes_max)
                if not rest or rest.endswith(b"\n"):
                    break
            if line.strip():
                yield number, line


def _entry(line: bytes) -> dict[str, object] | None:
    """The object that a line is, where it has a body and an id."""
    try:
        value: object = _decode(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("body"), dict):
        return None
    return value if isinstance(value.get("custom_id"), str) else None


def _wrong(line: bytes, endpoint: str, limits: LineLimits, seen: set[str]) -> Iterator[tuple[str, str, str]]:
    """Code, sentence and field of what is wrong."""
    if len(line) > limits.line_bytes_max:
        yield "line_too_long", f"This line has more than {limits.line_bytes_max} bytes.", ""
        return
    try:
        value: object = _decode(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        yield "invalid_json_line", "This line is not parseable as valid JSON.", ""
        return
    custom_id = value.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id or len(custom_id) > ID_CHARS_MAX:
        yield (
            "missing_required_parameter",
            f"custom_id must be a string of 1 to {ID_CHARS_MAX} characters.",
            "custom_id",
        )
    elif custom_id in seen:
        said = (
            f"The custom_id '{custom_id}' for this request is a duplicate of another request. The custom_id parameter "
            "must be unique for each request in a batch."
        )
        yield "duplicate_custom_id", said, "custom_id"
    else:
        seen.add(custom_id)
    if value.get("method") != "POST":
        yield "invalid_method", "The method of a request must be POST.", "method"
    url = value.get("url")
    if url != endpoint:
        shown = str(url)[:ID_CHARS_MAX]
        yield "url_not_found", f"The provided url '{shown}' is not supported by the Batch API.", "url"
    if not isinstance(value.get("body"), dict):
        yield "missing_required_parameter", "body must be an object.", "body"
