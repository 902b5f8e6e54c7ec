"""An upstream that costs next to nothing: `python -m bench.upstream PORT TOKENS [PACE_S]`.

It answers as vLLM's server does, with the same few tokens in turn: `/v1/completions` to token ids, with ids, and
`/v1/chat/completions`, whole and as streams.  TOKENS is JSON, `[[id, text], ...]`.  Every piece of a stream leaves by
itself, as one that was just computed would; PACE_S later the next, where that is given.  `max_tokens` is how many
there are.

Bytes in, bytes out, over uvloop's transports: no framework, no JSON, so that it is not what is measured.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from typing import cast

import uvloop

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_COUNT = re.compile(rb'"max_(?:completion_)?tokens": ?(\d+)')
_STREAM = re.compile(rb'"stream": ?true')
_EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
_USAGE = b'{"prompt_tokens":20,"total_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":16}}'
_ABOUT = {
    b"/v1/models": b'{"object":"list","data":[{"id":"bench","object":"model","max_model_len":32768}]}',
    b"/get_model_info": b'{"model_path":"bench","is_generation":true}',
    b"/model_info": b'{"model_path":"bench","is_generation":true}',
    b"/get_server_info": b'{"model_path":"bench","served_model_name":"bench","dp_size":1,"version":"0.5.23"}',
    b"/server_info": b'{"model_path":"bench","served_model_name":"bench","dp_size":1,"version":"0.5.23"}',
}


def _json(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _framed(event: bytes) -> bytes:
    data = b"data: %b\n\n" % event
    return b"%x\r\n%b\r\n" % (len(data), data)


class Said:
    """What is said, made ready: one framed event a token, by path."""

    def __init__(self, tokens: Sequence[tuple[int, str]]) -> None:
        self.texts = [text for _, text in tokens]
        self.completions = [_framed(self._completion(i, text, None)) for i, text in tokens]
        self.completions_last = [_framed(self._completion(i, text, "length")) for i, text in tokens]
        self.chats = [_framed(self._chat(text, None)) for text in self.texts]
        self.chats_last = [_framed(self._chat(text, "length")) for text in self.texts]
        self.role = _framed(self._chat("", None))

    @staticmethod
    def _completion(token: int, text: str, finish: str | None) -> bytes:
        choice = {
            "index": 0,
            "text": text,
            "logprobs": None,
            "finish_reason": finish,
            "stop_reason": None,
            "token_ids": [token],
            "prompt_token_ids": None,
        }
        return _event("text_completion", "cmpl", choice)

    @staticmethod
    def _chat(text: str, finish: str | None) -> bytes:
        delta = {"content": text} if text else {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, "token_ids": None}
        return _event("chat.completion.chunk", "chatcmpl", choice)

    def end(self, name: str, count: int) -> bytes:
        """What comes behind the last token: usage, and the end of the body."""
        usage = _USAGE % (count + 20, count)
        kind = b"chat.completion.chunk" if name == "chat" else b"text_completion"
        event = b'{"id":"x-0","object":"%b","created":1700000000,"model":"bench","choices":[],"usage":%b}' % (
            kind,
            usage,
        )
        return b"%b%b0\r\n\r\n" % (_framed(event), _framed(b"[DONE]"))

    def whole(self, count: int) -> bytes:
        """A chat completion in one piece."""
        text = "".join(self.texts[place % len(self.texts)] for place in range(count))
        message = {"role": "assistant", "content": text}
        body = {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "bench",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "length"}],
            "usage": json.loads(_USAGE % (count + 20, count)),
        }
        return _json(json.dumps(body).encode())


def _event(kind: str, name: str, choice: dict[str, object]) -> bytes:
    body = {"id": f"{name}-0", "object": kind, "created": 1700000000, "model": "bench", "choices": [choice]}
    return json.dumps({**body, "usage": None}, separators=(",", ":"), ensure_ascii=False).encode()


class Connection(asyncio.Protocol):
    """One connection, one request after the other."""

    def __init__(self, said: Said, pace_s: float) -> None:
        self._said, self._pace_s = said, pace_s
        self._held = b""
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Handle | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._next is not None:
            self._next.cancel()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._next = self._loop.call_soon(self._piece)

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        told = _LENGTH.search(self._held, 0, end + 2)
        size = end + 4 + (int(told[1]) if told else 0)
        if len(self._held) < size:
            return
        request, self._held = self._held[:size], self._held[size:]
        self._answer(request.split(b" ", 2)[1].partition(b"?")[0], request[end + 4 :])

    def _answer(self, path: bytes, body: bytes) -> None:
        if not path.endswith(b"/completions"):
            self._transport.write(_json(_ABOUT.get(path, b"{}")))
            return
        told = _COUNT.search(body)
        count = int(told[1]) if told else 16
        chat = path.endswith(b"chat/completions")
        if not _STREAM.search(body):
            self._transport.write(self._said.whole(count))
            return
        said = self._said
        self._pieces, self._lasts = (said.chats, said.chats_last) if chat else (said.completions, said.completions_last)
        self._left, self._count, self._name = count, count, "chat" if chat else "text"
        self._transport.write(_EVENTS + (said.role if chat else b""))
        self._piece()

    def _piece(self) -> None:
        """The next token, and then the next."""
        place = (self._count - self._left) % len(self._pieces)
        self._left -= 1
        if not self._left:
            self._transport.write(self._lasts[place] + self._said.end(self._name, self._count))
            return
        self._transport.write(self._pieces[place])
        if not self._paused:
            self._next = (
                self._loop.call_later(self._pace_s, self._piece) if self._pace_s else self._loop.call_soon(self._piece)
            )


async def _serve(port: int, said: Said, pace_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(said, pace_s), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    """The process itself."""
    port, tokens = int(sys.argv[1]), json.loads(sys.argv[2])
    pace_s = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(port, Said([(int(token), str(text)) for token, text in tokens]), pace_s))


if __name__ == "__main__":
    main()
