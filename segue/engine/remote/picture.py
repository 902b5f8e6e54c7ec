"""A picture as an upstream is sent it: a PNG in a data URI.

Lossless, so that the upstream sees what would have been seen here; written with nothing but `zlib`, quickly rather
than small.
"""

from __future__ import annotations

import base64
import struct
import zlib

from segue.core.media import Picture

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEVEL = 1


def data_uri(picture: Picture) -> str:
    """`data:image/png;base64,...`"""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()


def png(picture: Picture) -> bytes:
    """Eight bits of red, green and blue each, not interlaced; no row is filtered."""
    row = 3 * picture.width
    lines = b"".join(b"\0" + picture.pixels[at : at + row] for at in range(0, row * picture.height, row))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, _LEVEL)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
