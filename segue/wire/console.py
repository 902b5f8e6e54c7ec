"""The console: what a browser is given at /console, and the little that the other protocols do not tell it.

Laws: its files come from the package and need no key, for they say nothing; whatever else it asks for, it asks as any
client does, with the key in a header; every reply forbids what the page does not need (scripts and styles of others or
inside the page, frames, forms, sniffing, referrers); an address with a digest in it never changes what it means.
This file knows no file's text and no model.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Protocol

import msgspec
from starlette.routing import BaseRoute, Route

from segue.core import frozen
from segue.core.documents import Part
from segue.core.errors import Fault, MethodNotAllowed, PathUnknown, ValueRefused
from segue.core.generation import ModelCard
from segue.core.usage import Prices
from segue.wire.body import Receive, Send
from segue.wire.http import Door, Endpoint, Exchange, S, Scope, names_for, send_json
from segue.wire.openai.write import error
from segue.wire.query import number, query_of
from segue.wire.reply import send_reply

BASE = "/console"
TEXT_BYTES_MAX = 64 * 1024
"""So much of a document's text is shown at a time."""
_PLACE = b"{{place}}"
_KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_FOREVER = b"public, max-age=31536000, immutable"
_PAGE = "index.html"
_GUARD: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        b"trusted-types 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)


class Shelf(Protocol):
    """The texts of a workspace's files.  Raises what a question about such a file raises."""

    async def parts(self, workspace: str, id: str) -> tuple[Sequence[Part], int]:
        """Where the file's parts begin; how many bytes its text has."""
        ...

    async def text(self, workspace: str, id: str, start: int, end: int) -> bytes:
        """Bytes of its text."""
        ...


@frozen
class Told:
    """What the console is told of the house besides: prices by served model, their currency, its version; the shelf,
    where files are kept."""

    prices: Callable[[str], Prices]
    currency: Callable[[], str]
    version: str
    shelf: Shelf | None = None


@frozen
class Asset:
    """A file as it is sent."""

    kind: bytes
    data: bytes
    packed: bytes
    etag: bytes
    kept: bytes

    def reply(self, headers: Mapping[bytes, bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body for one who sent these headers."""
        known = headers.get(b"if-none-match", b"")
        told = [(b"etag", self.etag), (b"cache-control", self.kept), (b"vary", b"accept-encoding"), *_GUARD]
        if known == b"*" or self.etag in [tag.strip().removeprefix(b"W/") for tag in known.split(b",")]:
            return 304, told, b""
        told.append((b"content-type", self.kind))
        body = self.data
        accepted = [name.strip() for name in headers.get(b"accept-encoding", b"").split(b",")]
        if b"gzip" in accepted:
            body = self.packed
            told.append((b"content-encoding", b"gzip"))
        return 200, [*told, (b"content-length", b"%d" % len(body))], body


def assets() -> dict[str, Asset]:
    """The files by the end of their address: the page is "", all others stand behind the digest of all of them, so that
    a new version is never mixed with an old one."""
    folder = resources.files("segue") / "console"
    found = {item.name: item.read_bytes() for item in sorted(folder.iterdir(), key=lambda item: item.name)}
    found = {name: data for name, data in found.items() if name.rpartition(".")[2] in _KINDS}
    place = hashlib.sha256(b"".join(b"%b\0%b\0" % (name.encode(), data) for name, data in found.items()))
    here = place.hexdigest()[:16]
    page = _asset(_PAGE, found.pop(_PAGE).replace(_PLACE, f"{BASE}/{here}".encode()), b"no-cache")
    return {"": page} | {f"/{here}/{name}": _asset(name, data, _FOREVER) for name, data in found.items()}


def _asset(name: str, data: bytes, kept: bytes) -> Asset:
    kind = f"{_KINDS[name.rpartition('.')[2]]}; charset=utf-8".encode()
    etag = b'"%b"' % hashlib.sha256(data).hexdigest()[:32].encode()
    return Asset(kind, data, gzip.compress(data, mtime=0), etag, kept)


class _Static:
    """Serves the files to anybody."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._assets = assets()
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        id = self._new_id()
        path: str = scope["path"]
        asset = self._assets.get(path.removeprefix(BASE).rstrip("/"))
        method: str = scope["method"]
        fault: Fault | None = None
        if method not in ("GET", "HEAD"):
            fault = MethodNotAllowed(method)
        elif asset is None:
            fault = PathUnknown()
        if fault is not None or asset is None:
            await send_reply(error(fault or PathUnknown(), id), id, send)
            return
        status, headers, body = asset.reply(dict(scope["headers"]))
        await send(
            {"type": "http.response.start", "status": status, "headers": [*headers, (b"x-request-id", id.encode())]}
        )
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def routes(door: Door[S], told: Told) -> list[BaseRoute]:
    """The page, its files, and what it asks of the house."""

    async def session(exchange: Exchange) -> None:
        caller = exchange.caller
        names = names_for(door, caller)
        cards = {card.name: card for _, card in names}
        body = {
            "version": told.version,
            "key": caller.key,
            "workspace": caller.workspace,
            "role": caller.role,
            "currency": told.currency(),
            "files": told.shelf is not None,
            "models": {name: _model(card, told.prices(name)) for name, card in cards.items()},
            "names": [
                {"name": name, "model": card.name, "documents": door.reads_documents(name)} for name, card in names
            ],
        }
        await _send(exchange, body)

    async def parts(exchange: Exchange) -> None:
        assert told.shelf is not None
        found, size = await told.shelf.parts(exchange.caller.workspace, _id(exchange))
        await _send(exchange, {"bytes": size, "parts": [{"start": each.start, "label": each.label} for each in found]})

    async def text(exchange: Exchange) -> None:
        assert told.shelf is not None
        query = query_of(exchange)
        start, end = number(query, "start", 0), number(query, "end", TEXT_BYTES_MAX)
        if not start <= end <= start + TEXT_BYTES_MAX:
            raise ValueRefused("end", f"From start on, at most {TEXT_BYTES_MAX} bytes.")
        data = await told.shelf.text(exchange.caller.workspace, _id(exchange), start, end)
        await _send(exchange, {"text": data.decode("utf-8", "ignore")})

    static = _Static(door.new_id)
    asked: list[BaseRoute] = [Route(f"{BASE}/session", Endpoint(door, error, {"GET": session}))]
    if told.shelf is not None:
        asked += [
            Route(f"{BASE}/files/{{id}}/parts", Endpoint(door, error, {"GET": parts})),
            Route(f"{BASE}/files/{{id}}/text", Endpoint(door, error, {"GET": text})),
        ]
    return [*asked, Route(BASE, static), Route(f"{BASE}/{{path:path}}", static)]


def _model(card: ModelCard, prices: Prices) -> dict[str, object]:
    """A served model: what it can do, what it costs, and what is filled in where a request says nothing."""
    how = card.decoding
    return {
        "context_tokens": card.context_tokens,
        "output_tokens_max": card.output_tokens_max,
        "abilities": sorted(card.abilities),
        "prices": {"input": prices.input, "cached": prices.cached, "output": prices.output},
        "defaults": {
            "max_tokens": card.output_tokens_default,
            "temperature": how.temperature,
            "top_p": how.top_p,
            "top_k": how.top_k,
            "repetition_penalty": how.repetition_penalty,
            "presence_penalty": how.presence_penalty,
            "seed": how.seed,
        },
    }


def _id(exchange: Exchange) -> str:
    id: str = exchange.scope["path_params"]["id"]
    return id


async def _send(exchange: Exchange, body: dict[str, object]) -> None:
    await send_json(exchange, msgspec.json.encode(body), ((b"cache-control", b"no-store"), *_GUARD))
