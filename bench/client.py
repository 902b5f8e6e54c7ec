"""A small HTTP client: one request a connection, the time at which each piece of the answer came.

Cheap on purpose, because it runs on the processors that it measures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec


@dataclass(slots=True)
class Answer:
    """What came back.  `pieces` are (time, bytes) of each body chunk; `asked` is when the request left."""

    status: int = 0
    asked: float = 0.0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    def body(self) -> bytes:
        """The whole body."""
        return b"".join(data for _, data in self.pieces)

    def times(self, marker: bytes = b"") -> list[float]:
        """When the pieces that hold `marker` came."""
        return [at for at, data in self.pieces if marker in data]


def post(path: str, body: object, headers: Sequence[str] = ()) -> bytes:
    """The bytes of a POST request with a JSON body."""
    data = msgspec.json.encode(body)
    lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + data


def get(path: str, headers: Sequence[str] = ()) -> bytes:
    """The bytes of a GET request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: bench", *headers, "", ""]).encode()


def chat(content: str, tokens: int, stream: bool, key: str, **more: object) -> bytes:
    """The bytes of a chat completion request in the OpenAI-compatible protocol."""
    body = {"model": "qwen-plus", "messages": [{"role": "user", "content": content}], "max_tokens": tokens}
    more = {**more, "stream": True} if stream else more
    return post("/compatible-mode/v1/chat/completions", {**body, **more}, [f"Authorization: Bearer {key}"])


async def ask(port: int, request: bytes, answer: Answer | None = None) -> Answer:
    """Send one request to this machine's `port` and collect the answer.  Raises OSError, EOFError.

    An `answer` that is given can be looked into while it comes.
    """
    answer = answer or Answer()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        answer.asked = time.perf_counter()
        writer.write(request)
        answer.status = int((await reader.readline()).split()[1])
        length = -1
        while (line := await reader.readline()).strip():
            name, _, value = line.lower().partition(b":")
            if name == b"content-length":
                length = int(value)
        if length >= 0:
            data = await reader.readexactly(length)
            answer.pieces.append((time.perf_counter(), data))
            return answer
        while size := int(await reader.readline(), 16):
            data = await reader.readexactly(size + 2)
            answer.pieces.append((time.perf_counter(), data[:-2]))
        return answer
    finally:
        writer.close()
