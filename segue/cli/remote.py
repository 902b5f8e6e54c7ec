"""Answers from a running server, as any client of its API asks for them.

Laws: leaving the iterator closes the connection, which ends the answer on the server's engine; a
refusal is one sentence that says what to do next.  A server on this machine is never asked through
a proxy.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
import msgspec

from segue.cli.terminal import Stop

CONNECT_S = 5.0
READ_S = 300.0
_TOLD_CHARACTERS_MAX = 500
_NEXT = {
    401: "give a key with --key or in DASHSCOPE_API_KEY; `segue key new` makes one",
    403: "ask with another key, or for another model",
    404: "`segue models list` shows the models; does --url name a Segue server, without a path?",
    429: "wait a little and ask again",
    503: "the model is being started: wait a little and ask again",
}


class Piece(msgspec.Struct, frozen=True):
    """What came of one choice; `ended` with its last piece."""

    choice: int
    text: str
    thought: str = ""
    ended: str | None = None


class Spent(msgspec.Struct, frozen=True):
    """The tokens of all choices, told at the end."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Begun(msgspec.Struct, frozen=True):
    """The server has answered: which model it is, and how it read the documents, where it says so."""

    model: str
    documents: str


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Frame(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Spent | None = None
    error: msgspec.Raw | None = None


class _Wrong(msgspec.Struct):
    message: str = ""


class _Refusal(msgspec.Struct):
    message: str = ""
    error: _Wrong = msgspec.field(default_factory=_Wrong)


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def client(url: str, key: str) -> httpx.Client:
    """A client of the server at `url`.  Raises Stop when that is no address."""
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise Stop(f"{url} is no address: give one such as http://127.0.0.1:8000")
    if not key.isascii() or not key.isprintable():
        raise Stop("the key has characters that no key has: copy it again")
    return httpx.Client(
        base_url=url.rstrip("/"),
        headers={"authorization": f"Bearer {key}"},
        timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
        trust_env=not _here(place.hostname),
    )


def streamed(url: str, key: str, body: Mapping[str, object]) -> Generator[Begun | Piece | Spent]:
    """The answer's pieces, as they come.  Raises Stop."""
    wishes = {"stream": True, "stream_options": {"include_usage": True}}
    try:
        with (
            client(url, key) as server,
            server.stream("POST", "/compatible-mode/v1/chat/completions", json={**body, **wishes}) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise refused(url, response)
            yield Begun(response.headers.get("x-segue-model", ""), response.headers.get("x-segue-documents", ""))
            for line in response.iter_lines():
                if line.startswith("data:") and line.removeprefix("data:").strip() != "[DONE]":
                    yield from _pieces(line.removeprefix("data:").encode())
    except httpx.HTTPError as error:
        raise lost(url, error) from error
    except msgspec.MsgspecError as error:
        raise strange(url, error) from error


def models(url: str, key: str) -> list[str]:
    """The names that the server lists.  Raises Stop."""
    try:
        with client(url, key) as server:
            response = server.get("/compatible-mode/v1/models")
        if response.status_code != 200:
            raise refused(url, response)
        return [model.id for model in msgspec.json.decode(response.content, type=_Models).data]
    except httpx.HTTPError as error:
        raise lost(url, error) from error
    except msgspec.MsgspecError as error:
        raise strange(url, error) from error


def refused(url: str, response: httpx.Response) -> Stop:
    """What to say of an answer that is not 200; its body has been read."""
    todo = _NEXT.get(response.status_code)
    return Stop(f"{url} answers {response.status_code}: {_told(response.content)}" + (f" ({todo})" if todo else ""))


def lost(url: str, error: httpx.HTTPError) -> Stop:
    """What to say when there is no connection, or no longer."""
    why = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Stop(f"{url} cannot be reached: {why}; is `segue serve` running there?")
    return Stop(f"the connection to {url} broke off: {why}")


def strange(url: str, error: msgspec.MsgspecError) -> Stop:
    """What to say of an answer that cannot be read."""
    return Stop(f"{url} does not speak this API: {error}; does it name a Segue server, without a path?")


def _here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _pieces(data: bytes) -> Iterator[Piece | Spent]:
    frame = msgspec.json.decode(data, type=_Frame)
    if frame.error is not None:
        raise Stop(f"the answer broke off: {_told(data)}")
    for choice in frame.choices:
        delta = choice.delta
        yield Piece(choice.index, delta.content or "", delta.reasoning_content or "", choice.finish_reason)
    if frame.usage is not None:
        yield frame.usage


def _told(data: bytes) -> str:
    try:
        told = msgspec.json.decode(data, type=_Refusal)
        return told.error.message or told.message
    except msgspec.MsgspecError:
        return data[:_TOLD_CHARACTERS_MAX].decode("utf-8", "replace")
