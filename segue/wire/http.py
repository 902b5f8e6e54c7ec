"""What both protocols share of HTTP: the door they are given, limits, the key, refusals.

`segue/app.py` builds one `Door` and mounts

    segue.wire.openai.routes.routes(door)       /compatible-mode/v1/...
    segue.wire.dashscope.routes.routes(door)    /api/v1/...
    segue.wire.anthropic.routes.routes(door)    /apps/anthropic/v1/...
    segue.wire.http.fallback(door)              an ASGI app for every other path (404)

A wrong method on a known path is refused by the route itself (405), so no exception handlers
are needed.  Laws: every response has an x-request-id of our own making; a Fault never leaves
unworded; who asks is settled before a byte of the body is read; no CORS.  It does not know
what a model, a rule or an engine is.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

from segue.core import frozen
from segue.core.errors import (
    Fault,
    Internal,
    KeyInvalid,
    MethodNotAllowed,
    ModelDenied,
    PathUnknown,
    RoleDenied,
    TooLarge,
)
from segue.core.events import Event, Failed
from segue.core.generation import ModelCard, Reading
from segue.core.request import UNASKED, Caller, Request
from segue.core.usage import Book
from segue.wire.anthropic import write as anthropic
from segue.wire.body import ClientGone, Receive, Send, body, json_object
from segue.wire.dashscope import write as dashscope
from segue.wire.inspection import wanted
from segue.wire.limits import Limits as Limits
from segue.wire.limits import Patience
from segue.wire.openai import write as openai
from segue.wire.reply import Reply, answer_headers, send_reply
from segue.wire.stream import Line, Writer, presence, send_stream, send_whole

log = logging.getLogger("segue")

Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Served(Protocol):
    """What `Door.prepare` makes of a request: at least the real name of the model that will answer, and what it
    is given of the documents."""

    @property
    def served(self) -> str:
        """The model's real name."""
        ...

    @property
    def prompt_tokens(self) -> int:
        """What the model is given, in tokens."""
        ...

    @property
    def reading(self) -> Reading | None:
        """What was read of the documents, where there are any."""
        ...


S = TypeVar("S", bound=Served)


def _nobody(key: str, workspace: str) -> Caller:
    raise KeyInvalid


@dataclass(frozen=True, slots=True)
class Door(Generic[S]):
    """Everything the wire needs of the house.

    `prepare` may raise a Fault; `answer` never raises, its last event is `Finished` or `Failed`,
    and closing it is the cancellation.  `authenticate` takes the bearer token and the workspace
    header and raises Denied.  `names` lists every name a model answers to; `card_of` raises
    ModelUnknown.  `encode` gives token ids and bytes of raw text for a model name, and raises
    ModelUnknown.  `clock` is in unix seconds; `new_id` gives a fresh uuid.  `reads_documents` is whether a
    model of this name reads some.  `book` is where requests to models are entered.  `caller` is who has the key of an
    id in a workspace by now, for work that was left here; it raises KeyInvalid.  `patience` belongs to the one event
    loop that the door is served by.
    """

    prepare: Callable[[Request], Awaitable[S]]
    answer: Callable[[S], AsyncGenerator[Event, None]]
    authenticate: Callable[[str | None, str | None], Caller]
    names: Callable[[], Sequence[tuple[str, ModelCard]]]
    card_of: Callable[[str], ModelCard]
    encode: Callable[[str, str], Awaitable[tuple[Sequence[int], Sequence[bytes]]]]
    clock: Callable[[], float]
    new_id: Callable[[], str]
    reads_documents: Callable[[str], bool] = lambda name: False
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    book: Book | None = None
    caller: Callable[[str, str], Caller] = _nobody


WordedError = Callable[[Fault, str], Reply]
"""A Fault and a request id, as a reply in one protocol: `openai.error` or `dashscope.error`."""


@frozen
class Exchange:
    """One request whose caller is known and whose body is not yet read."""

    scope: Scope
    receive: Receive
    send: Send
    id: str
    headers: Mapping[bytes, bytes]
    caller: Caller

    def header(self, name: bytes) -> str:
        """A header's value by its lower-case name; empty when absent."""
        return self.headers.get(name, b"").decode("latin-1")


Handler = Callable[[Exchange], Awaitable[None]]

_LOOKING = frozenset({"GET", "HEAD"})
"""What a key that may only read may do."""


class Endpoint:
    """An ASGI app for one path: methods, key and refusals around a handler.

    `handlers` is by HTTP method; `error` words a Fault in the path's protocol; `only` is who may come here, where not
    everybody with a key may; `entered` is what a request is called in the book, empty where it asks no model; `key`
    finds the caller's key in the headers.
    """

    def __init__(
        self,
        door: Door[S],
        error: WordedError,
        handlers: Mapping[str, Handler],
        only: Callable[[Caller], bool] | None = None,
        entered: str = "",
        key: Callable[[Mapping[bytes, bytes]], str | None] | None = None,
    ) -> None:
        self._key = key or bearer
        self._book = door.book if entered else None
        self._entered = entered
        self._new_id = door.new_id
        self._authenticate = door.authenticate
        self._limits = door.limits
        self._error = error
        self._handlers = handlers
        self._only = only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._new_id()
        line = _Sent(send)
        try:
            method: str = scope["method"]
            handler = self._handlers.get(method)
            if handler is None:
                raise MethodNotAllowed(method)
            headers = self._headers(scope)
            caller = self._authenticate(self._key(headers), _text(headers.get(b"x-dashscope-workspace")))
            exchange = Exchange(scope, receive, line, request_id, headers, caller)
            if self._book is None:
                await self._handle(handler, exchange)
            else:
                await self._enter(self._book, handler, exchange)
        except ClientGone:
            return
        except Fault as fault:
            await self._refuse(fault, request_id, line)
        except Exception:
            log.exception("request failed", extra={"request_id": request_id})
            await self._refuse(Internal(), request_id, line)

    def _handle(self, handler: Handler, exchange: Exchange) -> Awaitable[None]:
        """Handle a request, if its caller may make it.  Raises RoleDenied."""
        caller = exchange.caller
        if caller.role == "read-only" and exchange.scope["method"] not in _LOOKING:
            raise RoleDenied
        if self._only is not None and not self._only(caller):
            raise RoleDenied
        return handler(exchange)

    async def _enter(self, book: Book, handler: Handler, exchange: Exchange) -> None:
        """Handle a request that is entered in the book, from now until nothing more of it is done."""
        book.begin(exchange.id, exchange.caller, self._entered)
        fault: Fault | None = None
        try:
            await self._handle(handler, exchange)
        except Fault as refusal:
            fault = refusal
            raise
        except ClientGone:
            raise
        except Exception:
            fault = Internal()
            raise
        finally:
            book.end(exchange.id, fault)

    def _headers(self, scope: Scope) -> Mapping[bytes, bytes]:
        """Headers by name.  Of several with one name the first counts.  Raises TooLarge."""
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        size = sum([len(name) + len(value) for name, value in headers])
        if size > self._limits.header_bytes_max:
            raise TooLarge("headers", self._limits.header_bytes_max)
        return dict(reversed(headers))

    async def _refuse(self, fault: Fault, request_id: str, send: _Sent) -> None:
        if send.started:  # nothing more can be said; the server cuts the connection
            return
        reply = self._error(fault, request_id)
        if isinstance(fault, MethodNotAllowed):
            allow = (b"allow", ", ".join(sorted(self._handlers)).encode("ascii"))
            reply = Reply(reply.status, reply.body, (*reply.headers, allow))
        try:
            await send_reply(reply, request_id, send)
        except OSError:
            return


class _Sent:
    """`send` that remembers whether a status line has left."""

    __slots__ = ("_send", "started")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    def __call__(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        self.started = True
        return self._send(message)


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value else None


def bearer(headers: Mapping[bytes, bytes]) -> str | None:
    """The token of `Authorization: Bearer <token>`; None when there is none."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return _text(token.strip()) if scheme.lower() == b"bearer" else None


def card_for(door: Door[S], caller: Caller, name: str) -> ModelCard:
    """The card of the model that answers to `name`, for one who may use it.  Raises ModelUnknown, ModelDenied."""
    card = door.card_of(name)
    if not caller.may_use(name, card.name):
        raise ModelDenied(name)
    return card


def names_for(door: Door[S], caller: Caller) -> Sequence[tuple[str, ModelCard]]:
    """The names that the caller may use."""
    return [(name, card) for name, card in door.names() if caller.may_use(name, card.name)]


async def read_object(door: Door[S], exchange: Exchange) -> dict[str, object]:
    """The request body as a JSON object.  Raises TooLarge, TimedOut, BodyInvalid, ClientGone."""
    limits = door.limits
    return json_object(await body(exchange.receive, limits.body_bytes_max, limits.body_wait_s, door.patience))


async def send_json(exchange: Exchange, data: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """A plain 200."""
    await send_reply(Reply(200, data, headers), exchange.id, exchange.send)


async def send_plain(exchange: Exchange, data: bytes, kind: str, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """A 200 of another content type."""
    headers = [
        (b"content-type", kind.encode("latin-1")),
        (b"content-length", b"%d" % len(data)),
        (b"x-request-id", exchange.id.encode("ascii")),
        *more,
    ]
    await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": data})


async def respond(door: Door[S], exchange: Exchange, request: Request, writer: Writer, stream: bool) -> None:
    """Prepare the request and write its answer, streamed or whole.  Raises Fault before the status line."""
    ignored, line = request.ignored, None
    if (inspection := wanted(exchange.headers)) is not UNASKED:
        request = replace(request, inspection=inspection)
    with presence(door.patience, exchange.receive) as client:
        if stream:
            headers = [
                (b"content-type", b"text/event-stream;charset=UTF-8"),
                (b"cache-control", b"no-cache"),
                (b"x-accel-buffering", b"no"),
                (b"x-request-id", exchange.id.encode("ascii")),
                *writer.stream_headers,
            ]
            line = Line(exchange.send, headers, writer.heartbeat, door.limits, client)
            # To read documents may take minutes, where notes are taken of them; so may fetching a video.
            if request.documents or any(message.media for message in request.messages):
                line.wait(door.limits.prepare_wait_s)
        try:
            job = await door.prepare(request)
            del request  # an answer may wait long; its conversation need not wait with it
            extra = answer_headers(job.served, ignored, job.reading)
            if line is None:
                await send_whole(door.answer(job), writer, extra, exchange.id, exchange.send)
                return
            line.add_headers(extra)
            line.wait(door.limits.first_event_wait_s)
            await send_stream(door.answer(job), writer, line)
        except ClientGone:
            raise
        except Exception as error:
            if line is None or not line.started:
                raise
            if not isinstance(error, Fault):
                log.exception("stream failed", extra={"request_id": exchange.id})
            fault = error if isinstance(error, Fault) else Internal()
            await line.write(writer.frame(Failed(fault)), more=False)
        finally:
            if line is not None:
                line.stop()


def fallback(door: Door[S]) -> ASGIApp:
    """Answers every path that no route has, in the protocol its prefix belongs to."""

    async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        error = dashscope.error
        for prefix, other in (("/compatible-mode", openai.error), ("/apps/anthropic", anthropic.error)):
            if path.startswith(prefix):
                error = other
        request_id = door.new_id()
        await send_reply(error(PathUnknown(), request_id), request_id, send)

    return unknown
