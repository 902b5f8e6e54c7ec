"""Is an answer that was broken off and resumed the answer that never was?

Each prompt is answered three times: to 80 tokens at once; to 40; and then the text of those 40 goes back
as the prefix, for 40 more.  Equal is text(40) + text(40 more) == text(80), character for character.
Greedily, and with temperature 0.8 and one seed.  Segue in its normal and its deterministic mode: the
whole pipeline without HTTP, each prompt in workspaces of its own, so that the uninterrupted answer
shares nothing with the resumed one.  The servers beside it keep their prompt caches, as by default.
Answers that end by themselves before 40 tokens are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench import report
from bench.continuation.prompt import Said, fresh, pipeline, request, say
from bench.continuation.results import Result, Settings
from bench.continuation.servers import LlamaServer, Server, vllm
from bench.model import engine_for, model_file
from bench.peer import Peer
from segue.core.request import Sampling
from segue.engine.llama.engine import LlamaEngine
from segue.prompt.template import render

PROMPTS, QUICK_PROMPTS = 40, 6
HALF = 40
CONTEXT = 4096
DRAWS = {
    "greedy": Sampling(temperature=0.0, repetition_penalty=1.0),
    "temperature 0.8": Sampling(temperature=0.8, top_p=0.95, top_k=40, repetition_penalty=1.0, seed=7),
}
ASKS = (
    "Write a story of 500 words about {}.",
    "请写一篇关于“{}”的五百字文章。",
    "Write a Python module with classes, docstrings and type hints for: {}.",
    "Describe {} as one large JSON object with nested lists. Only JSON.",
)
SUBJECTS = (
    ("a lighthouse keeper", "the last train north", "two rival bakers", "an old clockmaker", "seven lost letters",
     "rain over the harbour", "a grandfather's map", "the silent mill", "a stone bridge", "ten thousand lanterns"),
    ("故乡的小河", "第一场雪", "爷爷的收音机", "城市的夜晚", "图书馆",
     "一次旅行", "春天的菜市场", "邻居家的猫", "电影院", "台风"),
    ("a priority queue", "parsing INI files", "a rate limiter", "an inventory of a shop",
     "matrix arithmetic", "a text adventure", "a calendar with events", "a tokenizer for arithmetic",
     "a cache with expiry", "bank accounts"),
    ("a public library", "a football season", "a weather station", "an online order", "a train timetable",
     "a recipe collection", "a school", "a space mission", "a music festival", "a hospital"),
)  # fmt: skip

Speak = Callable[[str, str | None, int, Sampling], Awaitable[Said]]


@dataclass(frozen=True, slots=True)
class Resumed:
    """One interrupted answer.  `cached` of `prompt` tokens, prefix included, were found again."""

    equal: bool
    cached: int
    prompt: int
    mode: str


def prompts(count: int) -> list[str]:
    """What is asked, the four kinds in turn."""
    return [ASKS[number % 4].format(SUBJECTS[number % 4][number // 4 % 10]) for number in range(count)]


async def halves(whole: Speak, halved: Speak, user: str, sampling: Sampling) -> Resumed | None:
    """One answer in one piece and in two; None where it ends in its first half."""
    first = await halved(user, None, HALF, sampling)
    if first.reason != "length" or not first.text:
        return None
    second = await halved(user, first.text, HALF, sampling)
    uncut = await whole(user, None, 2 * HALF, sampling)
    mode = second.seam.mode if second.seam else ""
    return Resumed(first.text + second.text == uncut.text, second.cached_tokens, second.prompt_tokens, mode)


async def _ours(engine: LlamaEngine, users: Sequence[str], sampling: Sampling, deterministic: bool) -> list[Resumed]:
    over = pipeline(engine)

    def speak(workspace: str) -> Speak:
        return lambda user, prefix, tokens, how: say(
            over, request(user, prefix, tokens, how, workspace, deterministic=deterministic)
        )

    found = [await halves(speak(fresh()), speak(fresh()), user, sampling) for user in users]
    return [one for one in found if one is not None]


async def _theirs(server: Server, users: Sequence[str], sampling: Sampling) -> list[Resumed]:
    found = [await halves(server.say, server.say, user, sampling) for user in users]
    return [one for one in found if one is not None]


async def _measure(settings: Settings) -> Result:
    model, threads = model_file(settings.model), os.cpu_count() or 1
    users = prompts(settings.number(PROMPTS, QUICK_PROMPTS))
    engine = engine_for(model, 1, threads, CONTEXT)
    rows = []
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.close)
        await engine.start()
        server = LlamaServer(stack.enter_context(Peer(model.path, threads, 1, CONTEXT)))

        def rendered(user: str) -> str:
            return "".join(segment.text for segment in render(engine.card, request(user)))

        third = stack.enter_context(vllm(settings, model, rendered))
        for name, sampling in DRAWS.items():
            rows.append(_row(f"Segue, {name}", await _ours(engine, users, sampling, False), "all"))
            rows.append(_row(f"Segue, deterministic, {name}", await _ours(engine, users, sampling, True), "all"))
            rows.append(_row(f"llama.cpp's server, {name}", await _theirs(server, users, sampling)))
            if third:
                rows.append(_row(f"vLLM, {name}", await _theirs(third, users, sampling)))
    head = ["", "resumed", "equal", "target", "", "cached of prompt and answer, median", "not cached, most", "seam"]
    text = report.table(f"text({HALF}) + text({HALF} more) == text({2 * HALF})", head, rows)
    note = "" if third else "\nvLLM: not run (name a Python that has it with --vllm).\n"
    return Result("resume", f"{len(users)} prompts, {model.name}, {threads} threads", text + note)


def _row(name: str, found: list[Resumed], target: str = "") -> list[str]:
    if not found:
        return [name, "0", *["-"] * 6]
    modes = ", ".join(
        sorted({f"{one.mode} {sum(other.mode == one.mode for other in found)}" for one in found if one.mode})
    )
    return [
        name,
        str(len(found)),
        f"{sum(one.equal for one in found)}/{len(found)}",
        target,
        report.met(all(one.equal for one in found), least=1) if target else "",
        f"{100 * median(one.cached / one.prompt for one in found):.1f} %",
        str(max(one.prompt - one.cached for one in found)),
        modes or "-",
    ]


def measure(settings: Settings) -> Result:
    """The table of all ways to go on."""
    return asyncio.run(_measure(settings))
