"""What a wanted form costs: tokens a second, steps of the model, and what hostile forms do to a neighbour.

The real server, as `segue serve` runs it by default.  Rates: eight streams at once without a form and with JSON
schemas, one that forces next to nothing, so that every token pays for its mask, and one that forces keys, in turns;
tokens are counted while all eight draw.  What is asked for is longer than the tokens that may be said, in each kind.

Steps: one answer after the other, its prompt read before; `segue_engine_steps_total` says how many batches the
model computed for it.  Text that the form forces is counted as tokens, and costs a step only where the model has to
read it before it draws again.

Hostile forms: `bench/attack.py`; `--attacks` says how many are asked for.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from bench import report
from bench.attack import ATTACKS, SPAN_S, beside
from bench.client import Answer, ask, chat, get, post
from bench.decode import TOGETHER, Rates, Run, steady_rate
from bench.model import DEFAULT, SUBJECTS, model_file
from bench.process import KEY, free_port, segue, server

TOKENS = 64
ANSWER_TOKENS = 200
RATE_MIN = 0.90
_ROUNDS, _QUICK_ATTACKS = 5, 60
_STORY = "{}: write a very long story of that name."
_COUNT = re.compile(rb'"output_tokens":(\d+)')
_STEPS = re.compile(rb"^segue_engine_steps_total\{.*\} (\S+)$", re.MULTILINE)


def _json(schema: Mapping[str, object]) -> dict[str, object]:
    named = {"name": "wanted", "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _object(**properties: object) -> dict[str, object]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_STRING, _NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0, "maximum": 999}
_PERSON = _object(name={"type": "string", "maxLength": 40}, age=_NUMBER, colour={"enum": ["red", "green", "blue"]})
_INVOICE = _object(
    invoice_number=_NUMBER,
    customer=_object(
        family_name={"type": "string", "maxLength": 30}, country_of_residence={"enum": ["FR", "DE", "CN"]}
    ),
    total_amount_in_cents=_NUMBER,
    payment_is_overdue={"type": "boolean"},
    currency={"const": "EUR"},
)
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "The weather of a city now",
        "parameters": _object(location={"type": "string", "maxLength": 40}, unit={"enum": ["celsius", "fahrenheit"]}),
    },
}

FREE = "no form"
RATED: Mapping[str, dict[str, object]] = {
    FREE: {},
    "schema of free strings": _json({"type": "array", "items": _STRING, "minItems": 200}),
    "schema of records": _json({"type": "array", "items": _PERSON, "minItems": 100}),
}
"""What the eight streams are asked for: nothing that may end within `TOKENS`."""
ASKED: Mapping[str, tuple[str, dict[str, object]]] = {
    "text, no form": ("What does a lighthouse keeper do? Two sentences.", {}),
    "JSON mode": ("Describe a lighthouse keeper as JSON, briefly.", {"response_format": {"type": "json_object"}}),
    "schema, three keys": ("Invent a person, as JSON.", _json(_PERSON)),
    "schema, seven long keys": ("Invent an invoice, as JSON.", _json(_INVOICE)),
    "regex of a date": ("When did the second world war end?", {"regex": "[12][0-9]{3}-[01][0-9]-[0-3][0-9]"}),
    "a call, required": ("How is the weather in Paris?", {"tools": [_TOOL], "tool_choice": "required"}),
}
"""The answers whose steps are counted: the question and its form."""


def native(content: str, tokens: int, **more: object) -> bytes:
    """The bytes of a streamed request in DashScope's protocol, whose frames say how many tokens there are."""
    parameters = {"result_format": "message", "incremental_output": True, "max_tokens": tokens, **more}
    body = {"model": "qwen-plus", "input": {"messages": [{"role": "user", "content": content}]}}
    headers = [f"Authorization: Bearer {KEY}", "X-DashScope-SSE: enable"]
    return post("/api/v1/services/aigc/text-generation/generation", {**body, "parameters": parameters}, headers)


# --- tokens a second -------------------------------------------------------------------------------


def run_of(answer: Answer) -> Run:
    """When each token of a native stream came."""
    run = Run(answer.asked, [], [])
    for at, data in answer.pieces:
        if counts := _COUNT.findall(data):
            run.times.extend([at] * (int(counts[-1]) - len(run.times)))
    return run


async def together(port: int, number: int, tokens: int, form: Mapping[str, object]) -> list[Run]:
    """Eight streams at once."""
    requests = [
        native(_STORY.format(SUBJECTS[place]) + f" It is number {number}.", tokens, seed=number, **form)
        for place in range(TOGETHER)
    ]
    answers = await asyncio.gather(*(ask(port, request) for request in requests))
    for answer in answers:
        assert answer.status == 200, answer.body()
        if len(run_of(answer).times) < tokens:
            print(f"note: an answer ended before its {tokens} tokens")
    return [run_of(answer) for answer in answers]


async def rates(port: int, rounds: int, tokens: int) -> Rates:
    """Each kind of stream once a round, another one first each time."""
    found: Rates = defaultdict(list)
    names = list(RATED)
    for name in names:  # grammars are compiled, and kernels warm
        await together(port, 0, 4, RATED[name])
    for number in range(1, rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            found[name].append(steady_rate(await together(port, number, tokens, RATED[name])))
    return found


def rates_table(found: Rates) -> str:
    """Beside no form."""
    rows = [[FREE, report.spread(found[FREE]).text(), "", "", ""]]
    for name in RATED:
        if name == FREE or not all(found[FREE]):
            continue
        ratio = report.ratios(found[name], found[FREE])
        verdict = report.met(ratio.median, least=RATE_MIN)
        rows.append([name, report.spread(found[name]).text(), ratio.text(), f">= {RATE_MIN:.2f}", verdict])
    head = [f"{TOGETHER} streams", "tokens/s", "of no form", "target", ""]
    return report.table(f"{TOGETHER} streams at once, tokens a second over all: median (least .. greatest)", head, rows)


# --- steps and tokens ------------------------------------------------------------------------------


@dataclass(slots=True)
class Counted:
    """Sums over the answers of one form."""

    answers: int = 0
    tokens: int = 0
    steps: int = 0
    seconds: float = 0.0


async def steps_so_far(port: int) -> int:
    """What the server's counter says."""
    answer = await ask(port, get("/metrics", [f"Authorization: Bearer {KEY}"]))
    found = _STEPS.search(answer.body())
    assert found is not None, answer.body()
    return int(float(found[1]))


async def counted(port: int, rounds: int) -> dict[str, Counted]:
    """One answer of each form a round, alone on the server."""
    found = {name: Counted() for name in ASKED}
    for content, more in ASKED.values():
        await ask(port, chat(content, 1, False, KEY, **more))
    for seed, name in itertools.product(range(rounds), ASKED):
        content, more = ASKED[name]
        before = await steps_so_far(port)
        answer = await ask(port, chat(content, ANSWER_TOKENS, False, KEY, seed=seed, **more))
        assert answer.status == 200, answer.body()
        sums = found[name]
        sums.answers += 1
        sums.steps += await steps_so_far(port) - before
        sums.tokens += msgspec.json.decode(answer.body())["usage"]["completion_tokens"]
        sums.seconds += answer.pieces[-1][0] - answer.asked
    return found


def steps_table(found: Mapping[str, Counted]) -> str:
    """Tokens that the model did not have to draw are the difference."""
    rows = [
        [
            name,
            str(each.answers),
            str(each.tokens),
            str(each.steps),
            f"{each.steps / max(1, each.tokens):.2f}",
            f"{each.tokens / each.seconds:.1f}",
        ]
        for name, each in found.items()
    ]
    head = ["one answer at a time", "answers", "tokens", "steps", "steps a token", "tokens/s"]
    return report.table("Steps of the model and tokens of answers, prompts read before", head, rows)


async def measured(port: int, rounds: int, tokens: int, attacks: int, span_s: float) -> list[str]:
    """The tables, of the server that listens there."""
    return [
        rates_table(await rates(port, rounds, tokens)),
        steps_table(await counted(port, rounds)),
        await beside(port, attacks, span_s),
    ]


def main() -> None:
    """Print the report."""
    parser = report.parser(__doc__, rounds=_ROUNDS, model=DEFAULT)
    parser.add_argument("--attacks", type=int, default=ATTACKS, help=f"hostile requests ({ATTACKS})")
    options = parser.parse_args()
    rounds, tokens, span_s = options.rounds, TOKENS, SPAN_S
    if options.quick:
        rounds, tokens, span_s = 2, 16, 5.0
        options.attacks = min(options.attacks, _QUICK_ATTACKS)
    model, port = model_file(options.model), free_port()
    title = f"Forms of the answer: {model.name}, default settings"
    head = report.heading(title, f"{report.command('forms', options)} --attacks {options.attacks}")
    with server(segue(port, model.name), port, "/readyz", env={"SEGUE_MODELS_DIR": str(model.path.parent)}):
        print("\n".join([head, *asyncio.run(measured(port, rounds, tokens, options.attacks, span_s))]))


if __name__ == "__main__":
    main()
