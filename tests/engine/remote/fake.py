"""Servers that answer as vLLM, SGLang and chat upstreams document it, over a model of a few hundred tokens.

What they are asked is kept in `asked`; `trouble` makes them fail in the ways in which servers fail.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import random
import sys
from array import array
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from segue.engine.remote.chat import END, TEMPLATE, Marked
from segue.engine.remote.engine import RemoteEngine, Shared
from segue.engine.remote.kinds import remote
from segue.engine.remote.spec import Bounds, KindName, RemoteSpec, Site
from segue.engine.remote.upstream import Model
from segue.engine.remote.vocabulary import Known
from segue.engine.words import Table, Words

MERGED = [
    b"th",
    b" the",
    b" and",
    b"in",
    b"Fran",
    b"ce",
    b"France",
    b"nk",
    b" a",
    b'{"',
    b'":',
    b"  ",
    b"    ",
    b"\n\n",
]
TEXT_TOKENS = 256 + len(MERGED)
MARKS = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
START, STOP, PAD = TEXT_TOKENS, TEXT_TOKENS + 1, TEXT_TOKENS + 2
SIZE = TEXT_TOKENS + len(MARKS)
BOUNDS = Bounds(first_s=20.0, silence_s=20.0, look_s=5.0, looks_every_s=0.05, line_bytes_max=64 * 1024)


class Toy(Words):
    """Bytes, some of them merged; the longest wins."""

    def __init__(self) -> None:
        pieces = [bytes([byte]) for byte in range(256)] + MERGED + [mark.encode() for mark in MARKS]
        steering = dict(enumerate(MARKS, TEXT_TOKENS))
        self._long = sorted(((piece, 256 + at) for at, piece in enumerate(MERGED)), key=lambda each: -len(each[0]))
        super().__init__(
            Table(pieces=pieces, steering=steering, markup=[], eog=frozenset({STOP}), hidden=[START, PAD], eos=STOP)
        )

    def _tokens(self, text: str) -> list[int]:
        data, ids = text.encode(), []
        while data:
            token = next((token for piece, token in self._long if data.startswith(piece)), data[0])
            ids.append(token)
            data = data[len(self._pieces[token]) :]
        return ids


def logits(ids: Sequence[int]) -> list[float]:
    """What the model thinks after the last few tokens: printable text, now and then an end."""
    return list(_logits(tuple(ids[-4:])))


@lru_cache(10_000)
def _logits(last: tuple[int, ...]) -> list[float]:
    seed = hashlib.blake2b(bytes(str(last), "ascii"), digest_size=8).digest()
    rng = random.Random(seed)
    row = [-9.0] * SIZE
    for token in [*range(0x61, 0x7B), 0x20, *range(256, TEXT_TOKENS), STOP]:
        row[token] = rng.gauss(0.0, 2.0)
    return row


@lru_cache(10_000)
def _normal(last: tuple[int, ...]) -> list[float]:
    return normal(_logits(last))


def normal(row: Sequence[float]) -> list[float]:
    top = max(row)
    total = top + math.log(sum(math.exp(value - top) for value in row))
    return [value - total for value in row]


class Fake:
    """`trouble`: what goes wrong, with every answer or, counted down, the next few.  `pace_s` is between two tokens;
    `endless`: no answer ends by itself, and every token follows from all that came before."""

    def __init__(self, pace_s: float = 0.0, endless: bool = False) -> None:
        self.pace_s, self.endless = pace_s, endless
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.trouble = ""
        self.troubles = 10**9
        self.script: list[int] = []
        """Tokens that are drawn first, whatever the model thinks."""
        self.open = 0
        self.deaf = False
        """Biases and allowed tokens are not heard, as behind some routers."""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._models)
        app.router.add_get("/models", self._models)
        for path in ("/server_info", "/get_server_info", "/model_info", "/get_model_info"):
            app.router.add_get(path, self._about)
        app.router.add_post("/v1/completions", self._vllm)
        app.router.add_post("/generate", self._sglang)
        app.router.add_post("/chat/completions", self._chat)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        if self.trouble == "down":
            return web.Response(status=503)
        if self.trouble == "hung":
            await asyncio.sleep(30)
        return web.json_response({"data": [{"id": "toy", "max_model_len": 900}]})

    async def _about(self, request: web.Request) -> web.Response:
        return web.json_response({"model_path": "toy", "served_model_name": "toy", "is_generation": True, "dp_size": 1})

    async def _fields(self, request: web.Request) -> dict[str, Any]:
        self.headers.append(dict(request.headers))
        fields: dict[str, Any] = json.loads(await request.read())
        self.asked.append((request.path, fields))
        return fields

    async def _vllm(self, request: web.Request) -> web.StreamResponse:
        fields = await self._fields(request)
        if (refusal := self._refusal()) is not None:
            return refusal
        how = {**fields, "bias": fields.get("logit_bias", {}), "allowed": fields.get("allowed_token_ids")}
        prompt, tops = fields["prompt"], fields.get("logprobs")
        assert all(isinstance(token, int) for token in prompt)

        def choice(token: int, row: list[float], finish: str | None) -> dict[str, Any]:
            made: dict[str, Any] = {"text": "?", "token_ids": [token], "finish_reason": finish, "logprobs": None}
            if tops is not None:
                wanted = fields.get("logprob_token_ids") or sorted(range(SIZE), key=lambda i: -row[i])
                assert len(fields.get("logprob_token_ids", ())) <= 128
                top = {f"token_id:{i}": row[i] for i in [token, *wanted[:tops]]}
                made["logprobs"] = {
                    "tokens": [f"token_id:{token}"],
                    "token_logprobs": [row[token]],
                    "top_logprobs": [top],
                }
            return made

        usage = {"prompt_tokens": len(prompt), "prompt_tokens_details": {"cached_tokens": len(prompt) // 2}}
        drawn = self._draw(prompt, fields["max_tokens"], how)
        if not fields.get("stream"):
            return web.json_response({"choices": [choice(*next(drawn))], "usage": usage})
        events = ({"choices": [choice(*each)]} for each in drawn)
        return await self._stream(request, chain(events, [{"choices": [], "usage": usage}]))

    async def _sglang(self, request: web.Request) -> web.StreamResponse:
        fields = await self._fields(request)
        if (refusal := self._refusal()) is not None:
            return refusal
        how = fields["sampling_params"]
        how = {**how, "bias": how.get("logit_bias", {}), "seed": how.get("sampling_seed", 0)}
        drawn = self._draw(fields["input_ids"], how["max_new_tokens"], how)
        ids: list[int] = []
        values: list[object] = []
        tops: list[object] = []

        def event(token: int, row: list[float], finish: str | None) -> dict[str, Any]:
            ids.append(token)
            meta: dict[str, Any] = {
                "finish_reason": {"type": finish} if finish else None,
                "completion_tokens": len(ids),
                "cached_tokens": len(fields["input_ids"]) // 2,
            }
            if fields.get("return_logprob"):
                values.append([row[token], token, None])
                best = sorted(range(SIZE), key=lambda i: -row[i])[: fields.get("top_logprobs_num", 0)]
                tops.append([[row[i], i, None] for i in best])
                meta |= {"output_token_logprobs": list(values), "output_top_logprobs": list(tops)}
            if wanted := fields.get("token_ids_logprob"):
                meta["output_token_ids_logprobs"] = [[[row[i], i, None] for i in wanted]]
            return {"text": "?", "output_ids": list(ids), "meta_info": meta}

        if not fields.get("stream"):
            return web.json_response(event(*next(drawn)))
        return await self._stream(request, (event(*each) for each in drawn))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        fields = await self._fields(request)
        if (refusal := self._refusal()) is not None:
            return refusal
        toy = Toy()
        shown = "".join(f"{each['role']}\n{each['content']}" for each in fields["messages"])
        drawn = self._draw(toy.encode([(shown, False)]), fields["max_tokens"], {**fields, "bias": {}})

        def event(token: int, row: list[float], finish: str | None) -> dict[str, Any]:
            text = "" if token == STOP else toy.piece(token).decode("utf-8", "replace")
            return {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}

        usage = {"prompt_tokens_details": {"cached_tokens": 3}}
        events = (event(*each) for each in drawn)
        return await self._stream(request, chain(events, [{"choices": [], "usage": usage}]))

    def _draw(
        self, prompt: list[int], count: int, how: dict[str, Any]
    ) -> Iterator[tuple[int, list[float], str | None]]:
        """Tokens, the log probabilities they were drawn from, and why the last is the last."""
        ids, rng = list(prompt), random.Random(how.get("seed", 0))
        if self.deaf:
            how = {**how, "bias": {}, "allowed": None}
        ended = False
        for number in range(1, count + 1):
            if ended:
                return
            if self.endless:
                digest = hashlib.blake2b(array("i", ids).tobytes(), digest_size=2).digest()
                ids.append(0x61 + int.from_bytes(digest, "little") % 26)
                yield ids[-1], [], "length" if number == count else None
                continue
            row = _normal(tuple(ids[-4:]))
            bent = list(row)
            for token, value in how["bias"].items():
                bent[int(token)] += value
            if how.get("allowed"):
                bent = [value if token in set(how["allowed"]) else -1e9 for token, value in enumerate(bent)]
            token = max(range(SIZE), key=bent.__getitem__)
            if how["temperature"] > 0:
                bent = [value / how["temperature"] for value in bent]
                token = rng.choices(range(SIZE), [math.exp(value) for value in normal(bent)])[0]
            if self.script and not how["bias"] and not how.get("allowed"):
                token = self.script.pop(0)
            ids.append(token)
            ended = token == STOP
            yield token, row, "stop" if ended else "length" if number == count else None

    def _refusal(self) -> web.Response | None:
        if self.troubles <= 0 or not self.trouble.isdecimal():
            return None
        self.troubles -= 1
        return web.json_response({"error": {"message": "secret words of the prompt"}}, status=int(self.trouble))

    async def _stream(self, request: web.Request, events: Iterable[dict[str, Any]]) -> web.StreamResponse:
        trouble = self.trouble if self.troubles > 0 else ""
        self.troubles -= bool(trouble)
        if trouble in ("silent at first", "hung"):
            await asyncio.sleep(30)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        self.open += 1
        try:
            for place, event in enumerate(events):
                if place == 2 and trouble:
                    await self._bad(trouble, request, response)
                    if trouble == "ends early":
                        return response
                await response.write(b": a comment\n\ndata: " + json.dumps(event).encode() + b"\n\n")
                await asyncio.sleep(self.pace_s)
            await response.write(b"data: [DONE]\n\n")
        finally:
            self.open -= 1
        return response

    async def _bad(self, trouble: str, request: web.Request, response: web.StreamResponse) -> None:
        match trouble:
            case "silent":
                await asyncio.sleep(30)
            case "only comments":
                for _ in range(100):
                    await response.write(b": still here\n\n")
                    await asyncio.sleep(0.02)
            case "drops":
                assert request.transport is not None
                request.transport.abort()
                raise ConnectionResetError
            case "no JSON":
                await response.write(b"data: {nonsense\n\n")
            case "another shape":
                await response.write(b'data: {"choices": 5, "meta_info": 5}\n\n')
            case "a long line":
                for _ in range(20):
                    await response.write(b"x" * 8192)
            case "an error":
                await response.write(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')


def shared(kind: KindName) -> Shared:
    """What the files of the toy model would say."""
    words: Words = Toy()
    known = Known(words, TEMPLATE, "", END)
    if kind == "chat":
        known = Known(Marked(words), TEMPLATE, "", END)
    return Shared(known, Model.of(known.words))


def toy_engine(kind: KindName, site: Site, bounds: Bounds = BOUNDS, **fields: Any) -> RemoteEngine:
    """An engine over a fake at that address, not yet started."""
    defaults: dict[str, Any] = {"model": "toy", "context_tokens": 2048, "prefix": "partial"}
    spec = RemoteSpec("toy", kind, None, bounds=bounds, **(defaults | fields))  # type: ignore[arg-type]

    def ready() -> asyncio.Future[Shared]:
        future: asyncio.Future[Shared] = asyncio.get_running_loop().create_future()
        future.set_result(shared(kind))
        return future

    return remote(spec, site, ready)


@asynccontextmanager
async def upstream(kind: KindName, **fields: Any) -> AsyncIterator[tuple[RemoteEngine, Fake]]:
    """A started engine over a fake."""
    fake = Fake(endless=fields.pop("endless", False))
    server = TestServer(fake.app())
    await server.start_server()
    bounds = replace(BOUNDS, **fields.pop("bounds", {}))
    site = Site(str(server.make_url("/")), **fields.pop("site", {}))
    engine = toy_engine(kind, site, bounds, **fields)
    try:
        await engine.start()
        yield engine, fake
    finally:
        await engine.close()
        await server.close()


async def _serve(port: int, pace_s: float, endless: bool) -> None:
    runner = web.AppRunner(Fake(pace_s, endless).app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    print("port", runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


if __name__ == "__main__":  # a process that can be killed: `live.FakeProcess`
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:] == ["endless"]))
