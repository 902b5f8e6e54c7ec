"""Calls that the caller began: cut anywhere, each comes back as one whole call that fits its schema and says
what was written.  And calls, no calls and results with chance, over many seeds.

Greedy but for the seeds; what is asserted of a begun call holds whatever the model says, for every value is bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.e2e.talk import PROTOCOLS, Ask, Message, Protocol, ask, begun, pieces, post, together, user


@dataclass(frozen=True, slots=True)
class Called:
    """What an answer said and called; `calls` as the protocol writes them, put together."""

    text: str
    finish: str
    calls: tuple[dict[str, Any], ...]

    def call(self) -> tuple[str, str]:
        """The only call: its function, and its arguments as text."""
        (only,) = self.calls
        assert only["type"] == "function"
        assert re.fullmatch(r"call_[0-9a-f]{22}", only["id"])
        return only["function"]["name"], only["function"]["arguments"]

    def message(self) -> Message:
        """As a client sends it back."""
        return {"role": "assistant", "content": self.text, **({"tool_calls": list(self.calls)} if self.calls else {})}


Way = Callable[[httpx.Client, Protocol, Ask], Called]


def whole(http: httpx.Client, protocol: Protocol, asked: Ask) -> Called:
    response = post(http, protocol, asked)
    assert response.status_code == 200, response.text
    body = response.json()
    (choice,) = (body if protocol == "compatible" else body["output"])["choices"]
    message = choice["message"]
    return Called(message["content"], choice["finish_reason"], tuple(message.get("tool_calls", ())))


def streamed(http: httpx.Client, protocol: Protocol, asked: Ask) -> Called:
    text, finish = "", ""
    calls: dict[int, dict[str, Any]] = {}
    for body in pieces(http, protocol, asked):
        for choice in (body if protocol == "compatible" else body["output"])["choices"]:
            piece = choice["delta" if protocol == "compatible" else "message"]
            text += piece["content"]
            for each in piece.get("tool_calls", ()):
                _add(calls, each)
            if choice["finish_reason"] not in (None, "null"):
                assert not finish
                finish = choice["finish_reason"]
    assert sorted(calls) == list(range(len(calls)))
    return Called(text, finish, tuple(calls[index] for index in sorted(calls)))


def _add(calls: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    """One fragment more: the id and the name come with a call's first."""
    function = piece["function"]
    known = calls.get(piece["index"])
    if known is None:
        assert piece["id"]
        assert function["name"]
        calls[piece["index"]] = {**piece, "function": dict(function)}
        return
    assert piece["id"] == ""
    assert not function.get("name")
    known["function"]["arguments"] += function["arguments"]


# --- calls that the caller began -----------------------------------------------------------------

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 16},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days", "unit"],
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "get_weather": {**WEATHER, "additionalProperties": False},
    "get_time": {"type": "object", "properties": {}, "additionalProperties": False},
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_time",
            "description": "现在的时间",
            "parameters": {"type": "object", "properties": {}},
        },
    },
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "一座城市未来几天的天气", "parameters": WEATHER},
    },
]
NAMED: dict[str, Any] = {"type": "function", "function": {"name": "get_weather"}}
QUESTION = user("杭州西湖接下来12天的天气怎么样?用摄氏度。")
TIGHT = (
    "<tool_call>\n"
    r'{"name": "get_weather", "arguments": {"city": "杭州\"西湖\"\n", "days": 12, "unit": "celsius"}}'
    "\n</tool_call>"
)
"""As the templates spell it."""
LOOSE = (
    '<tool_call>{"name":"get_weather",\n  "arguments" : {\n'
    r'    "city":"\\西\t\u6e56🌸", "days":1,"unit":"fahrenheit" } }'
    "\n"
)
AFTER_TEXT = (
    '我来查一下。\n\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "杭州", "days": 3, "unit": "celsius"}'
)
CUTS = {
    "in the mark": "<tool_ca",
    "in the name": '"get_wea',
    "in a key": '"arguments": {"ci',
    "in Chinese": '"city": "杭',
    "in an escape": '西湖\\"\\',
    "in a number": '"days": 1',
    "behind the braces": '"celsius"}}',
}
"""Where the call of `TIGHT` breaks off: behind these."""
_HEAD = re.compile(r'[^<]*<tool_call>\s*\{\s*"name"\s*:\s*"(\w*)("?)(?:\s*,\s*"arguments"\s*:\s*(.*))?', re.DOTALL)

Case = tuple[Any, Protocol, Way]
CASES: tuple[Case, ...] = (
    ("required", "compatible", whole),
    ("required", "native", streamed),
    (NAMED, "compatible", streamed),
    (NAMED, "native", whole),
)
OTHERS: tuple[Case, ...] = (
    ("required", "compatible", streamed),
    ("required", "native", whole),
    (NAMED, "compatible", whole),
    (NAMED, "native", streamed),
)


def until(mark: str) -> str:
    """The call of `TIGHT`, broken off behind the mark."""
    return TIGHT[: TIGHT.index(mark) + len(mark)]


def check(http: httpx.Client, prefix: str, case: Case) -> None:
    choice, protocol, way = case
    asked = ask(QUESTION, begun(prefix), tools=TOOLS, tool_choice=choice, temperature=0, max_tokens=400)
    answer = way(http, protocol, asked)
    assert answer.text == "", (prefix, answer)
    assert answer.finish == ("stop" if choice is NAMED and protocol == "native" else "tool_calls"), (prefix, answer)
    name, arguments = answer.call()
    assert choice == "required" or name == "get_weather"
    Draft202012Validator(SCHEMAS[name]).validate(json.loads(arguments))
    agrees(prefix, name, arguments)


def agrees(prefix: str, name: str, arguments: str) -> None:
    """The call says, to the letter, what of it the prefix does."""
    written = _HEAD.match(prefix)
    if written is None:
        return  # nothing yet
    assert name == written[1] if written[2] else name.startswith(written[1]), (prefix, name)
    own = written[3] or ""
    if own.startswith(arguments):
        assert "</tool_call>".startswith(own[len(arguments) :].strip("} \n")), (prefix, arguments)
    else:
        assert arguments.startswith(own), (prefix, arguments)


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
def test_a_call_cut_short_becomes_one_call(http: httpx.Client, cut: str) -> None:
    together(lambda case: check(http, until(cut), case), CASES)


def test_a_call_that_was_finished_is_not_made_again(http: httpx.Client) -> None:
    asked = ask(QUESTION, begun(TIGHT), tools=TOOLS, tool_choice="required", temperature=0, max_tokens=50)
    for protocol in PROTOCOLS:
        answer = whole(http, protocol, asked)
        assert (answer.text.strip(), answer.finish, answer.calls) == ("", "stop", ())


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
def test_a_call_cut_short_in_the_other_ways(http: httpx.Client, cut: str) -> None:
    together(lambda case: check(http, until(cut), case), OTHERS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "every"),
    [
        pytest.param(TIGHT.removesuffix(">"), 2, id="as templates have it"),
        pytest.param(LOOSE, 4, id="spelled otherwise"),
        pytest.param(AFTER_TEXT, 4, id="after text"),
        *(
            pytest.param(text, 1, marks=pytest.mark.slow, id=f"{name}, everywhere")
            for text, name in ((TIGHT.removesuffix(">"), "templates"), (LOOSE, "otherwise"), (AFTER_TEXT, "after text"))
        ),
    ],
)
def test_a_call_cut_short_anywhere(http: httpx.Client, text: str, every: int) -> None:
    """Behind every character, or each so many, each in one of the eight ways."""
    cases = (*CASES, *OTHERS)
    cuts = range(1, len(text) + 1, every)
    for start in range(0, len(cuts), len(cases)):
        together(
            lambda cut: check(http, text[:cut], cases[cuts.index(cut) % len(cases)]), cuts[start : start + len(cases)]
        )


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_a_call_cut_short_is_gone_on_with_by_chance(http: httpx.Client, choice: Any) -> None:
    """Hot, and from each place: the call is whole all the same."""

    def one(seed: int) -> None:
        prefix = until(tuple(CUTS.values())[seed % len(CUTS)])
        asked = ask(QUESTION, begun(prefix), tools=TOOLS, tool_choice=choice, max_tokens=400)
        answer = (whole, streamed)[seed // 2 % 2](
            http, PROTOCOLS[seed % 2], asked.but(seed=seed, temperature=1.5, top_p=1.0)
        )
        name, arguments = answer.call()
        Draft202012Validator(SCHEMAS[name]).validate(json.loads(arguments))
        agrees(prefix, name, arguments)

    together(one, range(28))


# --- with chance, by seeds -----------------------------------------------------------------------

SEEDS = range(1, 21)
CLERK: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_current_time",
            "description": "当你想知道现在的时间时非常有用。",
            "parameters": {},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "get_current_weather",
            "description": "当你想查询指定城市的天气时非常有用。",
            "parameters": {
                "type": "object",
                "properties": {
                    "location": {"type": "string", "description": "城市或县区,比如北京市、杭州市、余杭区等。"}
                },
                "required": ["location"],
            },
        },
    },
]
"""Loose, as official samples have them."""
STUDENT = "请用json格式输出一个学生的信息,姓名是张三,学号是12345678"
RESULTS = {
    "get_current_weather": ("杭州今天是雨天。", re.compile("雨")),
    "get_current_time": ("当前时间:2024-04-15 17:15:18。", re.compile(r"17\s*[::点时]|5\s*[::点]|五点")),
}
"""What a function returns, and what an answer made of it says."""


def of_seed(http: httpx.Client, seed: int, asked: Ask) -> Called:
    """Default sampling; the protocols in turns, and of each every other answer streamed."""
    return (whole, streamed)[seed // 2 % 2](http, PROTOCOLS[seed % 2], asked.but(seed=seed))


def every_seed(fault: Callable[[int], str]) -> None:
    """`fault(seed)` says what is wrong with the answer; nothing may be, with any seed."""
    faults = dict(zip(SEEDS, together(fault, SEEDS), strict=True))
    wrong = {seed: said for seed, said in faults.items() if said}
    assert not wrong, f"{len(SEEDS) - len(wrong)} of {len(SEEDS)} seeds: {wrong}"


def _called(answer: Called, name: str) -> str:
    """What is wrong with an answer that should be one call of a function."""
    right = answer.finish == "tool_calls" and [call["function"]["name"] for call in answer.calls] == [name]
    return "" if right else repr(answer)


def _said(answer: Called, wanted: re.Pattern[str]) -> str:
    """What is wrong with an answer that should be text, and no call in disguise."""
    right = answer.finish == "stop" and not answer.calls and wanted.search(answer.text)
    return "" if right and "tool_call" not in answer.text and '"arguments"' not in answer.text else repr(answer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "function"), [("杭州天气", "get_current_weather"), ("几点了?", "get_current_time")]
)
def test_the_loop_with_every_seed(http: httpx.Client, question: str, function: str) -> None:
    """The question is a call; the call and its result go back and become text."""
    result, wanted = RESULTS[function]

    def fault(seed: int) -> str:
        asked = ask(user(question), tools=CLERK)
        first = of_seed(http, seed, asked)
        if wrong := _called(first, function):
            return wrong
        given = json.loads(first.call()[1])
        if function == "get_current_weather" and "杭州" not in given["location"]:
            return repr(given)
        told: Message = {"role": "tool", "content": result, "tool_call_id": first.calls[0]["id"]}
        history: Sequence[Message] = (*asked.messages, first.message(), told)
        return _said(of_seed(http, seed, Ask(tuple(history), asked.parameters)), wanted)

    every_seed(fault)


@pytest.mark.slow
def test_a_greeting_is_no_call_with_every_seed(http: httpx.Client) -> None:
    every_seed(lambda seed: _said(of_seed(http, seed, ask(user("你好"), tools=CLERK)), re.compile(r"\w")))


@pytest.mark.slow
def test_json_mode_with_every_seed(http: httpx.Client) -> None:
    def fault(seed: int) -> str:
        answer = of_seed(http, seed, ask(user(STUDENT), response_format={"type": "json_object"}))
        found = json.loads(answer.text) if answer.finish == "stop" else None
        said = json.dumps(found, ensure_ascii=False)
        right = isinstance(found, dict) and "张三" in said and "12345678" in said
        return "" if right else repr(answer)

    every_seed(fault)
