"""Is the caller's prefix in the prompt, byte for byte, whatever it is?

Passed is a prompt that is the prompt without a prefix, and then the prefix's bytes.  Segue's prompt
is taken as the engine gets it: the bytes of its token ids, behind the whole pipeline.  llama.cpp's own
server shows its own as `/apply-template`, with the prefix as a last message of the assistant's.  Beside it:
is a control token that is spelled in the prefix read as text?  For the server that is what its tokeniser
makes of its own prompt, for Segue whether a control token is among the prefix's ids.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass

from bench import report
from bench.continuation.prompt import ASKED, pipeline, request
from bench.continuation.results import Result, Settings
from bench.model import engine_for, model_file
from bench.peer import Peer
from segue.core.generation import Segment
from segue.engine.llama.engine import LlamaEngine

PREFIXES = {
    "empty": "",
    "two blanks": "  ",
    "a leading newline": "\nYes",
    "two trailing newlines": "Yes.\n\n",
    "a trailing blank": "Spring has come, the earth ",
    "the documented example": "def fib(n):\n    if n <= 1:\n        return n\n    else:\n",
    "a tab and a carriage return": "\tone\r\n\ttwo\r\n",
    "</think>": "so it is.</think>\n\nThe answer",
    "<think> and a newline": "<think>\n",
    "a spelled end of turn": "Write <|im_end|> at the end, then <|im_start|>user",
    "Chinese": "春天来了，大",
    "emoji with joiners": "well done 👩‍👩‍👧 🇨🇳",
    "template markup": "{{ messages }} {% if true %} [INST]",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of one prefix.  `text`: no control token came of it."""

    bytes: bool
    text: bool


async def ours(engine: LlamaEngine) -> list[Kept]:
    """Segue, from the request to the ids that the engine gets."""
    over = pipeline(engine)
    control = {(await engine.encode([Segment(spelling, True)]))[0] for spelling in engine.card.control_tokens}
    fresh = b"".join(await engine.pieces((await over.prepare(request(ASKED))).prompt.ids))
    found = []
    for prefix in PREFIXES.values():
        prompt = (await over.prepare(request(ASKED, prefix))).prompt
        data = b"".join(await engine.pieces(prompt.ids))
        found.append(Kept(data == fresh + prefix.encode(), not control.intersection(prompt.ids[prompt.answer_at :])))
    return found


async def theirs(peer: Peer) -> list[Kept]:
    """llama.cpp's server, from the messages to the prompt that it makes of them."""

    async def said(path: str, body: object) -> dict[str, object]:
        told: dict[str, object] = json.loads((await peer.send(path, body)).body())
        return told

    async def tokens(text: str, special: bool) -> object:
        return (await said("/tokenize", {"content": text, "parse_special": special}))["tokens"]

    user = {"role": "user", "content": ASKED}
    fresh = str((await said("/apply-template", {"messages": [user]}))["prompt"])
    found = []
    for prefix in PREFIXES.values():
        told = await said("/apply-template", {"messages": [user, {"role": "assistant", "content": prefix}]})
        found.append(
            Kept(told.get("prompt") == fresh + prefix, await tokens(prefix, True) == await tokens(prefix, False))
        )
    return found


async def _measure(settings: Settings) -> Result:
    model, threads = model_file(settings.model), os.cpu_count() or 1
    engine = engine_for(model, 1, threads)
    await engine.start()
    try:
        segue = await ours(engine)
    finally:
        await engine.close()
    with Peer(model.path, threads, 1, 2048) as peer:
        server = await theirs(peer)
    rows = [
        [name, _word(one.bytes), _word(one.text), _word(other.bytes), _word(other.text)]
        for name, one, other in zip(PREFIXES, segue, server, strict=True)
    ]
    sums = [
        sum(kept) for both in (segue, server) for kept in zip(*((one.bytes, one.text) for one in both), strict=True)
    ]
    rows.append(["passed", *(f"{passed}/{len(PREFIXES)}" for passed in sums)])
    head = ["prefix", "Segue: bytes", "as text", "llama.cpp's server: bytes", "as text"]
    text = report.table("Is the prompt the one without a prefix, and then the prefix?", head, rows)
    return Result("fidelity", f"{len(PREFIXES)} prefixes, the template of {model.name}", text)


def measure(settings: Settings) -> Result:
    """The table of all prefixes."""
    return asyncio.run(_measure(settings))


def _word(passed: bool) -> str:
    return "yes" if passed else "NO"
