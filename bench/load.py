"""A crowd: 64 clients at once over HTTP, and streams that run while a long prompt is read.

The real server, as `segue serve` runs it by default.  The crowd's prompts have 20 to 3,000 tokens,
most of them a few hundred at most, no two with a common beginning; each asks for a short answer.
Every one must finish.  Then four streams run while a prompt of 4,000 tokens is read: the gaps
between their tokens, before and meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from dataclasses import dataclass, field

import msgspec

from bench import report
from bench.client import Answer, ask, chat
from bench.model import SMALL, SUBJECTS, model_file, words
from bench.process import KEY, files_allowed, free_port, segue, server

CROWD = 64
SHORTEST, LONGEST = 20, 3000
CROWD_TOKENS = 32
STREAMS = 4
STREAM_TOKENS = 2000
LONG_PROMPT = 4000
TEXT = b'"finish_reason":null,"delta":{"content":'
EVENT = b"data: "
_DONE = b"data: [DONE]\n\n"
_WORDS_OF_TEMPLATE = 12
_SETTLE_S = 5.0


@dataclass(slots=True)
class Gaps:
    """Milliseconds between two tokens of one stream, and how long the long prompts took to read, in seconds."""

    before: list[float] = field(default_factory=list)
    meanwhile: list[float] = field(default_factory=list)
    read_s: list[float] = field(default_factory=list)


async def crowd(port: int, clients: int, longest: int) -> tuple[list[Answer], list[str]]:
    """Ask all at once.  Returns what finished, and what went wrong with the others."""
    requests = []
    for number in range(clients):
        tokens = SHORTEST * (longest / SHORTEST) ** ((number / (clients - 1)) ** 2)
        count = max(1, round(tokens) - _WORDS_OF_TEMPLATE)
        text = words(count, number)
        requests.append(chat(text, CROWD_TOKENS, True, KEY, stream_options={"include_usage": True}))
    outcomes = await asyncio.gather(*(ask(port, request) for request in requests), return_exceptions=True)
    finished, failed = [], []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            failed.append(repr(outcome))
        elif outcome.status != 200 or not outcome.body().endswith(_DONE) or b'"error":' in outcome.body():
            failed.append(outcome.body()[-300:].decode("utf-8", "replace"))
        else:
            finished.append(outcome)
    return finished, failed


def usage(answer: Answer) -> tuple[int, int]:
    """(Prompt tokens, output tokens) as the server counted them."""
    last = answer.body().removesuffix(_DONE).rpartition(b"data: ")[2]
    told = msgspec.json.decode(last)["usage"]
    return told["prompt_tokens"], told["completion_tokens"]


async def long_prompt(port: int, number: int, long: int, gaps: Gaps) -> None:
    """Streams run; a long prompt comes; the gaps go to `gaps`.  The streams are then left unfinished."""
    answers = [Answer() for _ in range(STREAMS)]
    running = []
    for place, answer in enumerate(answers):
        subject = SUBJECTS[(number * STREAMS + place) % len(SUBJECTS)]
        request = chat(f"{subject}: write a very long story of that name.", STREAM_TOKENS, True, KEY)
        running.append(asyncio.create_task(ask(port, request, answer)))
    await asyncio.sleep(_SETTLE_S)
    asked = time.perf_counter()
    answer = await ask(port, chat(words(long, 1000 + number), 1, True, KEY))
    assert answer.status == 200, answer.body()
    read = answer.times(EVENT)[0]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    gaps.read_s.append(read - asked)
    for stream in answers:
        times = stream.times(TEXT)
        pairs = list(itertools.pairwise(times))
        gaps.before += [1000 * (later - at) for at, later in pairs if later <= asked]
        # A gap under way when the prompt came counts: it is the one a reader would notice.
        gaps.meanwhile += [1000 * (later - at) for at, later in pairs if later > asked and at < read]


def crowd_table(finished: list[Answer], failed: list[str], took: float) -> str:
    """What became of the crowd."""
    counted = [usage(answer) for answer in finished]
    waits = [answer.times(EVENT)[0] - answer.asked for answer in finished]
    prompt, output = sum(count[0] for count in counted), sum(count[1] for count in counted)
    clients = len(finished) + len(failed)
    rows = [
        ["finished", f"{len(finished)} of {clients}", f"{clients}", report.met(len(finished), least=clients)],
        ["failed", str(len(failed)), "0", report.met(len(failed), most=0)],
        ["prompt tokens, least .. most", f"{min(counted)[0]} .. {max(counted)[0]}", "", ""],
        ["prompt tokens in all", str(prompt), "", ""],
        ["output tokens in all", str(output), "", ""],
        ["all had finished after, s", f"{took:.1f}", "", ""],
        ["first token, median wait, s", f"{report.spread(waits).median:.1f}", "", ""],
        ["first token, longest wait, s", f"{max(waits):.1f}", "", ""],
    ]
    return report.table(f"{clients} clients at once", ["", "", "target", ""], rows)


def gaps_table(gaps: Gaps, long: int) -> str:
    """The gaps between tokens."""
    rows = []
    for name, values in (("before", gaps.before), ("while it is read", gaps.meanwhile)):
        shown = [report.percentile(values, share) for share in (0.5, 0.99)]
        rows.append([name, str(len(values)), *(f"{value:.0f}" for value in (*shown, max(values)))])
    head = [f"a prompt of {long} tokens", "gaps", "p50, ms", "p99, ms", "longest, ms"]
    read = f"The prompt was read in {report.spread(gaps.read_s).text(1)} s."
    return report.table(f"Gaps between the tokens of {STREAMS} running streams", head, rows) + "\n" + read + "\n"


async def measure(options: argparse.Namespace) -> str:
    """The whole report."""
    quick = options.quick
    clients, longest, long, rounds = (8, 300, 600, 1) if quick else (CROWD, LONGEST, LONG_PROMPT, options.rounds)
    files_allowed(4 * CROWD + 200)
    model, port = model_file(options.model), free_port()
    title = f"Under load: {model.name}, default settings"
    head = report.heading(title, report.command("load", options))
    gaps = Gaps()
    with server(segue(port, model.name), port, "/readyz", env={"SEGUE_MODELS_DIR": str(model.path.parent)}):
        begun = time.perf_counter()
        finished, failed = await crowd(port, clients, longest)
        took = time.perf_counter() - begun
        for number in range(rounds):
            await long_prompt(port, number, long, gaps)
    return "\n".join([head, crowd_table(finished, failed, took), gaps_table(gaps, long), *failed[:5]])


def main() -> None:
    """Print the report."""
    print(asyncio.run(measure(report.parser(__doc__, rounds=1, model=SMALL).parse_args())))


if __name__ == "__main__":
    main()
