"""What the reading process says to the server, over one pipe, and nothing the other way.

Framing: four bytes of little-endian length, then one msgpack message.  The process reads hostile bytes, so what it
says is checked like any input: by type, by length of each message, and by their sum.
"""

from __future__ import annotations

import struct

import msgspec

from segue.core.documents import Trouble

FRAME_BYTES_MAX = 1 << 20
_LENGTH = struct.Struct("<I")
HEAD_BYTES = _LENGTH.size


class Caged(msgspec.Struct, tag=True, array_like=True):
    """The process has shut itself in; `open` names the walls that this system did not allow."""

    open: list[str]


class Progress(msgspec.Struct, tag=True, array_like=True):
    """So many pages of so many are done."""

    done: int
    total: int


class Recognising(msgspec.Struct, tag=True, array_like=True):
    """Pages turned out to be images: it will take the time that those may take."""


class Part(msgspec.Struct, tag=True, array_like=True):
    """What follows belongs to a part called `label`."""

    label: str


class Text(msgspec.Struct, tag=True, array_like=True):
    """The next piece of the text."""

    text: str


class Done(msgspec.Struct, tag=True, array_like=True):
    """That was all."""

    pages: int


class Failed(msgspec.Struct, tag=True, array_like=True):
    """It cannot be read.  `detail` names a cause in our code, never text of the file."""

    trouble: Trouble
    detail: str


Frame = Caged | Progress | Recognising | Part | Text | Done | Failed

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def pack(frame: Frame) -> bytes:
    """One framed message."""
    body = _encoder.encode(frame)
    return _LENGTH.pack(len(body)) + body


def length(head: bytes) -> int:
    """The body's length in bytes.  Raises ValueError past FRAME_BYTES_MAX."""
    size: int = _LENGTH.unpack(head)[0]
    if size > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {size} bytes")
    return size


def unpack(body: bytes) -> Frame:
    """One message.  Raises ValueError when it is none of ours."""
    try:
        frame: Frame = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError("no frame of ours") from error
    return frame
