"""Pictures and videos in a message, read into Medium.

Why: three protocols name them in four ways, and what is said of one (its pixels, its frames) is the same in all.
Laws: nothing is fetched or decoded here; a data URI is passed on as it came; what is said beside a picture and is not
known is listed as ignored.  It knows no model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from segue.core.errors import FieldMissing, FieldWrong, MediumRefused, NotSupported, OutOfRange, Ranged
from segue.core.media import Medium, Sort
from segue.wire.fields import VALUE_CHARS_MAX, Fields

FPS_MIN, FPS_MAX = 0.1, 10.0
FRAMES_MAX = 100_000
PIXELS_MAX = 2**40
FILE = "fileid://"
"""How the id of an uploaded file is written where an address stands."""

KINDS: dict[str, tuple[str, Sort]] = {
    "image_url": ("image_url", "image"),
    "image": ("image", "image"),
    "video": ("video", "video"),
    "video_url": ("video_url", "video"),
}
"""By its type, in which field a part has its address, and what that is of."""
OTHERS = frozenset({"audio", "input_audio", "doc_url", "file", "file_url"})
_SHARED = frozenset({"type", "text", "cache_control", "min_pixels", "max_pixels", "total_pixels", "fps", "max_frames"})


def medium(part: Fields, high_resolution: bool = False) -> Medium | None:
    """The picture or video that a part of a message is, None for one that is neither.  Raises Refused."""
    kind = part.get("type")
    if not isinstance(kind, str):
        kind = next((name for name in KINDS if part.get(name) is not None), "text")
        if part.values.keys() & OTHERS:
            raise NotSupported("media")
    if kind == "text":
        return None
    if kind not in KINDS:
        raise NotSupported("media")
    name, sort = KINDS[kind]
    value = part.get(name)
    if value is None:
        raise FieldMissing(part.path + name)
    said = part
    if isinstance(value, dict):
        said = Fields(value, f"{part.path}{name}.", part.coerces, part.ignored)
        value = said.get("url")
        if value is None:
            raise FieldMissing(said.path + "url")
        _leftover(said, _SHARED | {"url"})
    _leftover(part, _SHARED | {name})
    frames = isinstance(value, list)
    if frames and sort == "image":
        _wrong(said, name)
    given: list[object] = value if isinstance(value, list) else [value]
    sources = [source for source in given if isinstance(source, str)]
    if len(sources) != len(given):
        _wrong(said, name)
    return _medium(sort, tuple(sources), frames, _First(part, said), high_resolution)


def anthropic(block: Fields) -> Medium:
    """The picture of an `image` block.  Raises Refused."""
    source = block.inside("source")
    if source is None:
        raise FieldMissing(block.path + "source")
    _leftover(block, frozenset({"type", "source", "cache_control"}))
    match source.string("type"):
        case "base64":
            address = f"data:{_required(source, 'media_type')};base64,{_required(source, 'data')}"
        case "url":
            address = _required(source, "url")
        case "file":
            address = FILE + _required(source, "file_id")
        case kind:
            allowed = ("base64", "url", "file")
            raise FieldWrong(source.path + "type", "value", "choice", str(kind)[:VALUE_CHARS_MAX], allowed)
    return Medium("image", (_address(address),))


def responses(part: Fields) -> Medium:
    """The picture of an `input_image`.  Raises Refused."""
    id, url = part.string("file_id"), part.string("image_url")
    detail = part.string("detail")
    _leftover(part, frozenset({"type", "file_id", "image_url", "detail"}))
    if id is None and url is None:
        raise FieldMissing(part.path + "image_url")
    address = url if url is not None else FILE + str(id)
    return Medium("image", (_address(address),), high_resolution=detail == "high")


def _medium(sort: Sort, sources: tuple[str, ...], frames: bool, first: _First, high_resolution: bool) -> Medium:
    if not sources:
        raise MediumRefused("address")
    for source in sources:
        _address(source)
    low, high = first.integer("min_pixels", PIXELS_MAX), first.integer("max_pixels", PIXELS_MAX)
    if low is not None and high is not None and low > high:
        raise OutOfRange("min_pixels", low, high)
    fps = first.number("fps")
    return Medium(
        sort=sort,
        sources=sources,
        frames=frames,
        pixels_min=low,
        pixels_max=high,
        total_pixels_max=first.integer("total_pixels", PIXELS_MAX),
        fps=fps if sort == "video" else None,
        frames_max=first.integer("max_frames", FRAMES_MAX),
        high_resolution=high_resolution,
    )


class _First:
    """What is said of a picture: beside it, or with its address."""

    def __init__(self, outer: Fields, inner: Fields) -> None:
        self._places = (outer, inner)

    def integer(self, name: Ranged, high: int) -> int | None:
        """The first that there is.  Raises FieldWrong, OutOfRange."""
        value = self._found(lambda place: place.integer(name))
        if value is not None and not 1 <= value <= high:
            raise OutOfRange(name, value, high)
        return None if value is None else int(value)

    def number(self, name: Ranged) -> float | None:
        """The first that there is.  Raises FieldWrong, OutOfRange."""
        value = self._found(lambda place: place.number(name))
        if value is not None and not FPS_MIN <= value <= FPS_MAX:
            raise OutOfRange(name, value)
        return value

    def _found(self, get: Callable[[Fields], float | None]) -> float | None:
        return next((value for place in self._places if (value := get(place)) is not None), None)


def _address(source: str) -> str:
    """Something that could be one.  Raises MediumRefused."""
    if not source.strip() or "\0" in source:
        raise MediumRefused("address")
    return source


def _required(fields: Fields, name: str) -> str:
    value = fields.string(name)
    if value is None:
        raise FieldMissing(fields.path + name)
    return value


def _leftover(fields: Fields, known: frozenset[str]) -> None:
    for name, value in fields.values.items():
        if value is not None and name not in known:
            fields.ignored.add(fields.path + name)


def _wrong(fields: Fields, name: str) -> NoReturn:
    raise FieldWrong(fields.path + ("url" if "url" in fields.values else name), "string")
