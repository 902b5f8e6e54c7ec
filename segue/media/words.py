"""What the server and the process that decodes say to each other.

Framing: four bytes of little-endian length, then one msgpack message, one way only; what is asked is an argument.  The
process reads hostile bytes, so what it says is checked like any input: by type, by length, and by their sum.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from segue.core.errors import Unfit
from segue.media.limits import DecodeLimits

FRAME_BYTES_MAX = (1 << 20) + 64
PIECE_BYTES = 1 << 20
ASKED_CHARS_MAX = 120_000
"""Linux takes no argument of 128 KiB."""
_LENGTH = struct.Struct("<I")
HEAD_BYTES = _LENGTH.size


class Task(msgspec.Struct, array_like=True, frozen=True):
    """One medium: a picture, pictures that are frames, or a video; `lengths` are those of its pieces in the file.
    `patch`, `low`, `high` as in `sizes.Fit`; `total` bounds the pixels of all frames."""

    sort: Literal["image", "frames", "video"]
    lengths: list[int]
    patch: int
    low: int
    high: int
    total: int
    fps: float
    frames_max: int


class Asked(msgspec.Struct, array_like=True, frozen=True):
    """Everything that is to be decoded, in the order of the file."""

    tasks: list[Task]
    limits: DecodeLimits


class Caged(msgspec.Struct, tag=True, array_like=True):
    """The process has shut itself in; `open` names the walls that this system did not allow."""

    open: list[str]


class Picture(msgspec.Struct, tag=True, array_like=True):
    """A picture follows, of the task with this number; a frame stands for so many `seconds`."""

    task: int
    width: int
    height: int
    seconds: float


class Pixels(msgspec.Struct, tag=True, array_like=True):
    """Some more of them."""

    data: bytes


class Done(msgspec.Struct, tag=True, array_like=True):
    """That was all."""


class Failed(msgspec.Struct, tag=True, array_like=True):
    """It cannot be shown.  `detail` names a cause in our code, never anything that was sent."""

    why: Unfit
    one: float
    other: float
    detail: str = ""


Word = Caged | Picture | Pixels | Done | Failed

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Word)


def pack(word: Word) -> bytes:
    """One framed message."""
    body = _encoder.encode(word)
    return _LENGTH.pack(len(body)) + body


def length(head: bytes) -> int:
    """The body's length in bytes.  Raises ValueError past FRAME_BYTES_MAX."""
    size: int = _LENGTH.unpack(head)[0]
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {size} bytes")
    return size


def unpack(body: bytes) -> Word:
    """One message.  Raises ValueError when it is none of ours."""
    try:
        word: Word = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError("no message of ours") from error
    return word


def asked_to(asked: Asked) -> str:
    """As one argument of a command line."""
    return msgspec.json.encode(asked).decode()


def asked_from(argument: str) -> Asked:
    """The reverse of `asked_to`."""
    return msgspec.json.decode(argument, type=Asked)
