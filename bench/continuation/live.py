"""What is said behind prefixes that end inside a token, greedily, beside what the plain tokens lead to.

`plain` and `seam` are Segue's embedded engine with the same prompt ids, with the search for the seam and
without.  llama.cpp's own server, and vLLM where it is named, get the same prefix in their own way; then Segue
in front of that vLLM, where its model is named by a folder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.continuation.prompt import ASKED, Said, fresh, pipeline, request, say
from bench.continuation.results import Result, Settings
from bench.continuation.servers import LlamaServer, Vllm, vllm
from bench.model import engine_for, model_file
from bench.peer import Peer
from segue.core.request import Sampling
from segue.engine.remote.kinds import Reading, remote
from segue.engine.remote.spec import RemoteSpec, Site
from segue.prompt.template import render

TOKENS = 10
SHOWN_MAX = 30
GREEDY = Sampling(temperature=0.0, repetition_penalty=1.0)
PREFIXES = (
    "The capital of Fran",
    "Spring has come, the earth ",
    "Dear Ms. Lee,\n\nThank you for your inter",
    "She opened the window, looked ou",
    "春天来了,大",
    "机器学习是人工智能的一个重",
    "def fib(n):\n    if n <= 1:\n        ret",
    "def fib(n):\n    if n <= 1:\n        return n\n    else:\n    ",
    "def fib(n):\n    if n <= 1:\n        return n\n    else:\n",
    "for i in ran",
    "SELECT name, email FROM cust",
    '{"name": "Ada Lovelace", "profess',
    '{"status": "ok", "items": ',
)


async def _measure(settings: Settings) -> Result:
    model, threads = model_file(settings.model), os.cpu_count() or 1
    engine = engine_for(model, 1, threads)
    await engine.start()
    prefixes = PREFIXES[:3] if settings.quick else PREFIXES
    found: list[tuple[Said, Said]] = []
    try:
        over = pipeline(engine)
        for prefix in prefixes:
            both = [
                await say(over, request(ASKED, prefix, TOKENS, GREEDY, fresh()), searched) for searched in (False, True)
            ]
            found.append((both[0], both[1]))
        header = "".join(segment.text for segment in render(engine.card, request(ASKED)))
    finally:
        await engine.close()
    others: dict[str, list[str]] = {}
    with Peer(model.path, threads, 1, 2048) as peer:
        server = LlamaServer(peer)
        others["llama.cpp's server"] = [(await server.say(ASKED, prefix, TOKENS, GREEDY)).text for prefix in prefixes]
    with vllm(settings, model, lambda user: header) as third:
        said = [(await third.say(ASKED, prefix, TOKENS, GREEDY)).text if third else "" for prefix in prefixes]
        others |= {"vLLM": said} if third else {}
        if third and settings.vllm_model and (Path(settings.vllm_model) / "tokenizer.json").is_file():
            others["Segue over vLLM"] = await _through(third, Path(settings.vllm_model), prefixes)
    rows = []
    for number, (prefix, (plain, seam)) in enumerate(zip(prefixes, found, strict=True)):
        cells = [plain.text, *(told[number] for told in others.values()), seam.text]
        how = f"{seam.seam.nodes} / {seam.seam.bound:.4f}" if seam.seam else ""
        rows.append([_end(prefix), *(_shown(cell) for cell in cells), how])
    head = ["prefix ends in", "plain", *others, "seam", "nodes / bound"]
    text = report.table("What comes next, greedily", head, rows, left=len(head) - 1)
    note = "" if settings.vllm else "vLLM: not run (name a Python that has it with --vllm).\n"
    return Result("live", f"{len(prefixes)} prefixes, {TOKENS} tokens, {model.name}", f"{text}\n{note}")


async def _through(server: Vllm, files: Path, prefixes: Sequence[str]) -> list[str]:
    """What Segue says in front of it."""
    spec = RemoteSpec("bench", "vllm", files, model="bench", context_tokens=4096)
    engine = remote(spec, Site(f"http://127.0.0.1:{server.port}"), Reading(spec))
    await engine.start()
    try:
        over = pipeline(engine)
        return [(await say(over, request(ASKED, prefix, TOKENS, GREEDY, fresh()))).text for prefix in prefixes]
    finally:
        await engine.close()


def measure(settings: Settings) -> Result:
    """The table of all prefixes."""
    return asyncio.run(_measure(settings))


def _shown(text: str) -> str:
    """A text on one line, its blanks visible, cut off where it is long."""
    line = text.replace(" ", "␣", len(text) - len(text.lstrip(" "))).replace("\n", "⏎").replace("\t", "⇥")
    return line if len(line) <= SHOWN_MAX else line[: SHOWN_MAX - 1] + "…"


def _end(text: str) -> str:
    """The end of a prefix, its last blanks visible."""
    words = text.rstrip(" ")
    line = (words + "␣" * (len(text) - len(words))).replace("\n", "⏎")
    return line if len(line) <= SHOWN_MAX else "…" + line[-SHOWN_MAX + 1 :]
