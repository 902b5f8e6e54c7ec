"""The HTTP of upstreams, over servers that say exactly these bytes."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from segue.core.errors import EngineFailed, EngineLost, TimedOut
from segue.engine.remote.client import Client, UpstreamRefused
from segue.engine.remote.http import HELD_BYTES_MAX, READ_BYTES
from segue.engine.remote.spec import Bounds, Site

BOUNDS = Bounds(connect_s=2.0, first_s=2.0, silence_s=2.0, look_s=2.0, line_bytes_max=4096, body_bytes_max=65536)
OK = b"HTTP/1.1 200 OK\r\n"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Reads requests and answers each with `said`, the next of the list; the last one again and again."""

    def __init__(self, *said: bytes, close: bool = False) -> None:
        self.said, self.close = list(said), close
        self.requests: list[bytes] = []
        self.connections = 0
        self.gone = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                self.requests.append(head + await reader.readexactly(size))
                writer.write(self.said.pop(0) if len(self.said) > 1 else self.said[0])
                await writer.drain()
                if self.close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.gone.set()


@asynccontextmanager
async def served(answer: Answer, bounds: Bounds = BOUNDS, **site: object) -> AsyncIterator[Client]:
    secure = site.pop("secure", None)
    tasks: set[asyncio.Task[None] | None] = set()

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(answered, "127.0.0.1", 0, ssl=secure)
    port = server.sockets[0].getsockname()[1]
    scheme, name = ("https", "localhost") if secure else ("http", "127.0.0.1")
    client = Client(Site(f"{scheme}://{name}:{port}/base", **site), bounds)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        await client.close()
        server.close()
        if tasks:
            await asyncio.wait([task for task in tasks if task is not None], timeout=5)


async def events(client: Client) -> list[bytes]:
    async with aclosing(client.events("/e", b"{}")) as items:
        return [item async for together, _ in items for item in together]


def whole(body: bytes, *lines: bytes) -> bytes:
    return OK + b"".join(line + b"\r\n" for line in lines) + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def chunked(*parts: bytes) -> bytes:
    return OK + b"transfer-encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (*parts, b""))


async def test_what_is_asked() -> None:
    server = Server(whole(b"yes"))
    async with served(server, key="sk-1") as client:
        assert await client.post("/p", b"{1}") == b"yes"
        assert await client.get("/g") == b"yes"
        assert await events(client) == []
    posted, got, _ = server.requests
    assert posted.startswith(b"POST /base/p HTTP/1.1\r\nhost: 127.0.0.1:")
    assert posted.endswith(b"\r\ncontent-length: 3\r\n\r\n{1}")
    assert b"\r\nauthorization: Bearer sk-1\r\n" in posted
    assert got.startswith(b"GET /base/g HTTP/1.1\r\n")
    assert server.connections == 1, "a connection is used again"


@pytest.mark.parametrize("key", ["two words", "a\r\nhost: elsewhere", "schl\u00fcssel", "a\x00"])
async def test_a_key_that_cannot_be_sent(key: str) -> None:
    with pytest.raises(EngineFailed) as raised:
        Client(Site("http://127.0.0.1:1", key=key), BOUNDS)
    assert key not in str(raised.value)


async def test_a_stream_in_any_pieces() -> None:
    text = b": hello\n\ndata: one\n\ndata:two\r\n\r\nevent: x\nid: 1\ndata:  three \n\nerror: four\n\ndata: [DONE]\n\n"
    for size in (1, 3, 10, 1000):
        cut = [text[at : at + size] for at in range(0, len(text), size)]
        async with served(Server(chunked(*cut))) as client:
            assert await events(client) == [b"one", b"two", b"three", b"four", b"[DONE]"]


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    server = Server(OK + b"\r\ndata: one\n\n", close=True)
    async with served(server) as client:
        assert await events(client) == [b"one"]
        assert await client.get("/g") == b"data: one\n\n"
    assert server.connections == 2


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200",
        OK + b"content-length: 10\r\n\r\nshort",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nab",
        OK + b"transfer-encoding: chunked\r\n\r\nxyz\r\nabc",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none(said: bytes) -> None:
    async with served(Server(said, close=True)) as client:
        with pytest.raises(EngineLost):
            await client.get("/g")
        with pytest.raises(EngineLost):
            await events(client)


async def test_nobody_is_there() -> None:
    async with served(Server(b"")) as client:
        pass
    with pytest.raises(EngineLost):
        await client.get("/after close")
    with pytest.raises(EngineLost):
        await Client(Site("http://127.0.0.1:1"), BOUNDS).get("/g")
    with pytest.raises(EngineLost):
        await Client(Site("http://a..b"), BOUNDS).get("/g")


async def test_a_head_without_an_end() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"x-one: ")
        for _ in range(1000):
            writer.write(b"y" * 4096)
            await writer.drain()
            written.append(1)

    written: list[int] = []
    async with served(babble) as client:
        with pytest.raises(EngineLost):
            await client.get("/g")
    assert len(written) < 1000


async def test_words_aside() -> None:
    async with served(Server(b"HTTP/1.1 100 Continue\r\n\r\n" + whole(b"yes"))) as client:
        assert await client.get("/g") == b"yes"


async def test_refusals() -> None:
    said = b"HTTP/1.1 404 No\r\ncontent-length: 4\r\n\r\nnope"
    server = Server(said)
    async with served(server) as client:
        for _ in range(2):
            with pytest.raises(UpstreamRefused) as raised:
                await client.post("/p", b"")
            assert (raised.value.status, raised.value.body) == (404, b"nope")
        moved = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"
        server.said = [moved]
        with pytest.raises(UpstreamRefused):
            await client.get("/g")
    assert server.connections == 1


async def test_a_kept_connection_that_was_closed_is_no_failure() -> None:
    server = Server(whole(b"yes"), close=True)
    async with served(server) as client:
        for _ in range(3):
            assert await client.get("/g") == b"yes"
        assert server.connections == 3


async def test_a_kept_connection_that_dies_when_it_is_asked() -> None:
    """It is asked again, once, over a new one; a new one is not."""
    turns: list[int] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turns.append(len(turns))
        if turns[-1] != 1:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(whole(b"yes"))
            await reader.readuntil(b"\r\n\r\n")  # and dies
        writer.close()

    async with served(once) as client:
        assert await client.get("/g") == b"yes"
        with pytest.raises(EngineLost):
            await client.get("/g")
        assert len(turns) == 2
        assert await client.get("/g") == b"yes"
        assert await client.get("/g") == b"yes"
        assert len(turns) == 4


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen", b"stolen"])
async def test_what_was_not_asked_for_answers_nobody(more: bytes) -> None:
    async with served(Server(whole(b"first") + more, whole(b"second"))) as client:
        assert await client.get("/g") == b"first"
        assert await client.get("/g") == b"second"


async def test_what_comes_between_two_requests_ends_the_connection() -> None:
    later = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(whole(b"yes"))
        await later.wait()
        writer.write(whole(b"stolen"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with served(late) as client:
        assert await client.get("/g") == b"yes"
        later.set()
        await asyncio.sleep(0.05)
        assert await client.get("/g") == b"yes"


@pytest.mark.parametrize("said", [b"", OK, OK + b"content-length: 9\r\n\r\nabc"])
async def test_too_late(said: bytes) -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()
        gone.set()
        writer.close()

    async with served(silent, replace(BOUNDS, look_s=0.1, first_s=0.1, silence_s=0.1)) as client:
        for asked in (client.get("/g"), events(client)):
            gone.clear()
            with pytest.raises(TimedOut):
                await asked
            await asyncio.wait_for(gone.wait(), 2)


async def test_a_silence_ends_when_something_comes() -> None:
    """The time is that between two events; it may be shorter than the time to the first, or longer."""

    async def paced(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(4):
            writer.write(b"9\r\ndata: a\n\n\r\n")
            await asyncio.sleep(0.15)
        writer.write(b"0\r\n\r\n")

    for first_s in (0.3, 5.0):
        async with served(paced, replace(BOUNDS, first_s=first_s, silence_s=0.3)) as client:
            assert await events(client) == [b"a"] * 4
    async with served(paced, replace(BOUNDS, first_s=5.0, silence_s=0.05)) as client:
        with pytest.raises(TimedOut):
            await events(client)


async def test_who_does_not_read_is_not_sent_more() -> None:
    written = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"transfer-encoding: chunked\r\n\r\n")
        for number in range(20_000):
            data = b"data: %06d %b\n\n" % (number, b"x" * 1000)
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
            written += len(data)
        writer.write(b"0\r\n\r\n")

    async with served(endless) as client, aclosing(client.events("/e", b"")) as items:
        first, _ = await anext(items)
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.1)
        assert written < 20_000_000, "it was held up"
        (connection,) = client._busy
        assert connection._held_bytes <= HELD_BYTES_MAX + READ_BYTES
        numbers = [int(item[:6]) for item in first] + [
            int(item[:6]) async for together, _ in items for item in together
        ]
        assert numbers == list(range(20_000))


async def test_leaving_closes_the_connection() -> None:
    server = Server(OK + b"transfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n")
    async with served(server) as client:
        async with aclosing(client.events("/e", b"")) as items:
            assert await anext(items) == ([b"a"], False)
        await asyncio.wait_for(server.gone.wait(), 2)


async def test_idle_connections_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.engine.remote.client._KEPT_S", 0.05)
    server = Server(whole(b"yes"))
    async with served(server) as client:
        await client.get("/g")
        await asyncio.wait_for(server.gone.wait(), 2)
        assert not client._idle
        assert not client._busy


async def test_bodies_that_are_too_long() -> None:
    async with served(Server(whole(b"x" * 70_000))) as client:
        with pytest.raises(EngineFailed):
            await client.get("/g")
        with pytest.raises(EngineFailed):
            await events(client)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One for `localhost`, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "made.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(made)]
    subprocess.run(words, check=True, capture_output=True)
    return made, key


async def test_tls(certificate: tuple[Path, Path]) -> None:
    made, key = certificate
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(made, key)
    long = chunked(*[b"data: %d %b\n\n" % (number, b"x" * 2000) for number in range(100)])
    server = Server(long, whole(b"yes"))
    async with served(server, secure=secure, ca=made) as client:
        assert [int(event.split()[0]) for event in await events(client)] == list(range(100))
        assert await client.get("/g") == b"yes"
    async with served(server, secure=secure, ca=made, host="other.test:1") as client:
        with pytest.raises(EngineLost):
            await client.get("/g")  # a certificate for another name
    async with served(server, secure=secure) as client:
        with pytest.raises(EngineLost):
            await client.get("/g")  # nobody vouches for it
    async with served(server, secure=secure, ca=made, host="localhost:1") as client:
        assert await client.get("/g") == b"yes"
    assert b"\r\nhost: localhost:1\r\n" in server.requests[-1]
