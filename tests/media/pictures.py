"""Pictures and videos of every kind, as bytes; and the server that has them."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from segue.core.media import Sight
from segue.media.decoder import Decoder
from segue.media.fetch import Fetcher, Mirrors, Resolve, resolved
from segue.media.gallery import Gallery
from segue.media.guard import Guard, Reach
from segue.media.limits import DecodeLimits, FetchLimits, MediaLimits
from segue.media.sources import Nothing, Shelf, Sources

SIGHT = Sight(patch=28, pixels_min=4 * 784, pixels_max=12_845_056, video_tokens_max=1024, frames_max=64)
HOME = ("127.0.0.1",)
COLOUR = (200, 30, 40)


def saved(picture: Image.Image, format: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **how)
    return out.getvalue()


def plain(width: int = 400, height: int = 300, mode: str = "RGB", colour: Any = COLOUR) -> Image.Image:
    return Image.new(mode, (width, height), colour)


def halves() -> Image.Image:
    """Red above, blue below: what is upright can be seen."""
    picture = plain(280, 280)
    picture.paste((0, 0, 255), (0, 140, 280, 280))
    return picture


def turned(orientation: int) -> bytes:
    """The halves, lying as a camera notes it in EXIF."""
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(halves().transpose(back[orientation]), "PNG", exif=exif)


def deep() -> bytes:
    """Sixteen bits of grey."""
    return saved(Image.fromarray(np.full((280, 280), 0xC8C8, dtype=np.uint16)))


def film(seconds: int = 4, rate: int = 10, width: int = 160, height: int = 120) -> bytes:
    """A video whose red grows with its time."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for place in range(seconds * rate):
            shade = np.full((height, width, 3), (place * 255 // (seconds * rate), 0, 0), dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return out.getvalue()


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def gallery(
    reach: Reach = "public",
    hosts: tuple[str, ...] = HOME,
    limits: MediaLimits | None = None,
    fetching: FetchLimits | None = None,
    decoding: DecodeLimits | None = None,
    resolve: Resolve = resolved,
    shelf: Shelf | None = None,
    mirrors: Mirrors = (),
) -> Gallery:
    limits, fetching = limits or MediaLimits(), fetching or FetchLimits()
    fetcher = Fetcher(Guard(reach, hosts), fetching, resolve, mirrors)
    sources = Sources(fetcher, shelf or Nothing(), fetching, limits.uri_bytes_max)
    return Gallery(sources, Decoder(decoding or DecodeLimits(), 2), limits)


@dataclass
class Reply:
    """What a path answers; `slow_s` before each piece."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    slow_s: float = 0.0
    length: int | None = None


class Site:
    """A web server on 127.0.0.1; `asked` are the paths that it was asked for."""

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        self.replies = dict(replies)
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.port = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ")[1]
            self.asked.append(path)
            self.heads.append(head)
            reply = self.replies.get(path, Reply(status=404))
            length = len(reply.body) if reply.length is None else reply.length
            told = {"content-length": str(length), "connection": "close", **reply.headers}
            lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
            writer.write(f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode())
            for at in range(0, len(reply.body), 1 << 16):
                await asyncio.sleep(reply.slow_s)
                writer.write(reply.body[at : at + (1 << 16)])
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            """Nobody reads on."""
        finally:
            writer.close()


@asynccontextmanager
async def site(replies: Mapping[str, Reply]) -> AsyncIterator[Site]:
    served = Site(replies)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    async with server:
        yield served
