"""A whole response, before it meets ASGI, and how it is sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from segue.core import frozen
from segue.core.generation import Reading, SeamFound
from segue.wire.body import Send

HeaderList = list[tuple[bytes, bytes]]

IGNORED_BYTES_MAX = 512
IGNORED_NAMES_MAX = 20
_HEADER_SAFE = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


@frozen
class Reply:
    """Status, JSON body and the headers beyond the usual ones."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    retry_after_s: int | None = None


async def send_reply(reply: Reply, request_id: str, send: Send) -> None:
    """Send `reply` as it is."""
    headers: HeaderList = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request_id.encode("ascii")),
        *reply.headers,
    ]
    if reply.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % reply.retry_after_s))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def answer_headers(
    served: str, ignored: Sequence[str], reading: Reading | None = None
) -> tuple[tuple[bytes, bytes], ...]:
    """Which model really answered, what it was given of the documents, and which fields were read past; nothing a
    header cannot hold."""
    if not ignored and reading is None:
        return (_model_header(served),)
    headers = [_model_header(served)]
    if reading is not None:
        headers.append(_documents_header(reading))
    listed = ",".join([name for name in ignored if _HEADER_SAFE.fullmatch(name)][:IGNORED_NAMES_MAX])
    if len(listed) > IGNORED_BYTES_MAX:
        listed = listed[: listed.rindex(",", 0, IGNORED_BYTES_MAX + 1)]
    if listed:
        headers.append((b"x-segue-ignored", listed.encode("ascii")))
    return tuple(headers)


def _documents_header(reading: Reading) -> tuple[bytes, bytes]:
    """How much of the documents the model was given: the tier, and how many passages."""
    passages = "" if reading.tier == "whole" else f"; passages={len(reading.citations)}"
    return b"x-segue-documents", f"{reading.tier}; files={reading.files}{passages}".encode("ascii")


def seam_header(seam: SeamFound) -> tuple[bytes, bytes]:
    """How the caller's prefix was joined to the answer: the mode, and for a search its certificate."""
    if seam.mode != "exact":
        return b"x-segue-seam", seam.mode.encode("ascii")
    return b"x-segue-seam", b"exact; bound=%.1e; nodes=%d; back=%d" % (seam.bound, seam.nodes, seam.back_bytes)


@lru_cache(maxsize=64)  # there are as many as models are served
def _model_header(served: str) -> tuple[bytes, bytes]:
    return b"x-segue-model", re.sub(r"[^\x21-\x7e]", "_", served).encode("ascii")
