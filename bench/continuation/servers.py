"""The servers beside which Segue's continuations are measured, asked as their own documentation asks them.

llama.cpp's own: its chat endpoint, with the text so far as a last message of the assistant's; only its
stream leaves that text out of the answer.  vLLM, where a Python that has it is named: its completions
endpoint, with the prompt as the template prints it and the text so far behind it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from bench.bare import OPENMP
from bench.client import Answer, ask, post
from bench.continuation.prompt import Said
from bench.continuation.results import Settings
from bench.model import ModelFile
from bench.peer import Peer
from bench.process import free_port, server
from segue.core.request import Sampling

VLLM_START_S_MAX = 900.0
VLLM_CONTEXT = 4096


class Server(Protocol):
    """Whoever can go on with an answer."""

    async def say(self, user: str, prefix: str | None, tokens: int, sampling: Sampling) -> Said:
        """What it says behind the prefix."""
        ...


class LlamaServer:
    """llama.cpp's own HTTP server."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def say(self, user: str, prefix: str | None, tokens: int, sampling: Sampling) -> Said:
        """Its prompt cache is on, as by default."""
        messages = [{"role": "user", "content": user}]
        if prefix is not None:
            messages.append({"role": "assistant", "content": prefix})
        body = {"messages": messages, "max_tokens": tokens, "min_p": 0.0, "repeat_penalty": 1.0, **_drawn(sampling)}
        answer = await self._peer.send("/v1/chat/completions", body | _STREAM)
        return _read(answer, lambda choice: choice["delta"].get("content"))


class Vllm:
    """vLLM's OpenAI-compatible server at a port of this machine; `rendered` is the template's prompt."""

    def __init__(self, port: int, rendered: Callable[[str], str]) -> None:
        self.port, self._rendered = port, rendered

    async def say(self, user: str, prefix: str | None, tokens: int, sampling: Sampling) -> Said:
        """Its prefix cache is on, as by default."""
        body = {"model": "bench", "prompt": self._rendered(user) + (prefix or ""), "max_tokens": tokens}
        answer = await ask(self.port, post("/v1/completions", body | _drawn(sampling) | _STREAM))
        return _read(answer, lambda choice: choice.get("text"))


@contextmanager
def vllm(settings: Settings, model: ModelFile, rendered: Callable[[str], str]) -> Iterator[Vllm | None]:
    """The server while the block runs; None where no Python with vLLM was named."""
    if settings.vllm is None:
        yield None
        return
    port = free_port()
    flags = {"--model": settings.vllm_model or str(model.path), "--served-model-name": "bench", "--port": str(port)}
    flags |= {"--max-model-len": str(VLLM_CONTEXT), "--max-num-seqs": "1"}
    words = [word for pair in flags.items() for word in pair]
    words += ["--enable-prompt-tokens-details", *(["--enforce-eager"] if settings.vllm_eager else [])]
    command = [settings.vllm, "-m", "vllm.entrypoints.openai.api_server", *words]
    with server(command, port, "/health", env=OPENMP, start_s_max=VLLM_START_S_MAX):
        yield Vllm(port, rendered)


_STREAM: dict[str, object] = {"stream": True, "stream_options": {"include_usage": True}}


def _drawn(sampling: Sampling) -> dict[str, object]:
    drawn: dict[str, object] = {"temperature": sampling.temperature}
    if sampling.temperature:
        drawn |= {"top_p": sampling.top_p, "top_k": sampling.top_k, "seed": sampling.seed}
    return drawn


def _read(answer: Answer, piece: Callable[[dict[str, Any]], str | None]) -> Said:
    """An answer that came as a stream of events; raises OSError for a refusal."""
    if answer.status != 200:
        raise OSError(f"status {answer.status}: {answer.body()[-300:].decode('utf-8', 'replace')}")
    said = Said(answer.asked)
    for at, data in answer.pieces:
        for line in data.split(b"\n"):
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            for choice in event["choices"]:
                if text := piece(choice):
                    said.text += text
                    said.times.append(at)
                said.reason = choice.get("finish_reason") or said.reason
            if usage := event.get("usage"):
                said.prompt_tokens, said.tokens = usage["prompt_tokens"], usage["completion_tokens"]
                said.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return said
