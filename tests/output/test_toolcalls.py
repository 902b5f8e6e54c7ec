"""What is read as a call, however it comes, and that nothing else is lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.events import CallArguments, CallStarted, Ended, Event, Text, fold
from segue.core.generation import TokenLogprob
from segue.core.request import Tool
from segue.output.calling import Calling
from segue.output.toolcalls import ToolCalls

WEATHER = Tool("get_weather", "", {"properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "x": {}}})
TOOLS = (WEATHER, Tool("get_time", "", {}))
W = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
T = '{"name": "get_time", "arguments": {}}'
PARIS, NONE = ("get_weather", '{"city": "Paris"}'), ("get_time", "{}")

Read = tuple[str, list[tuple[str, str]]]


def tag(inner: str) -> str:
    return f"<tool_call>\n{inner}\n</tool_call>"


def read(*texts: str, prefix: str = "", kept: bool = False) -> Read:
    """The text, and the calls with their arguments."""
    reader = ToolCalls(TOOLS, prefix, kept)
    pieces = [piece for text in texts for piece in reader.feed(text)] + reader.end()
    said = ""
    calls: list[tuple[str, str]] = []
    for kind, text in pieces:
        if kind == "text":
            said += text
        elif kind == "call":
            calls.append((text, ""))
        elif kind == "arguments":
            calls[-1] = (calls[-1][0], calls[-1][1] + text)
    return said, calls


CALLS: dict[str, Read] = {
    tag(W): ("", [PARIS]),
    "\n\n" + tag(W) + "\n": ("", [PARIS]),
    "Let me see.\n" + tag(W): ("Let me see.\n", [PARIS]),
    tag(W) + "\n" + tag(T): ("", [PARIS, NONE]),
    tag(W) + tag(T) + " Done. ": (" Done. ", [PARIS, NONE]),
    "<tool_call>" + W + "</tool_call>": ("", [PARIS]),
    "<tool_call>" + W: ("", [PARIS]),
    "<tool_call>" + W + "</tool": ("", [PARIS]),
    "<tool_call>" + W[:-1] + "\n</tool_call>": ("", [PARIS]),
    "<tool_call>" + W[:-2] + "</tool_call>": ("", [("get_weather", '{"city": "Paris"')]),
    "<tool_call>" + W[:-6]: ("", [("get_weather", '{"city": "Pa')]),
    tag('{"name":"get_time","arguments":{},"id":"<1"}'): ("", [NONE]),
    tag('{"arguments": {"city": "Paris"}, "name": "get_weather"}'): ("", [PARIS]),
    tag('{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}'): ("", [PARIS]),
    tag('{"name": "get_time"}'): ("", [NONE]),
    tag('{"name": "get_time", "arguments": null}'): ("", [NONE]),
    tag('{"name": "get_weather", "parameters": {"city": "}<\\"{"}}'): ("", [("get_weather", '{"city": "}<\\"{"}')]),
    tag("<function=get_time>\n</function>"): ("", [NONE]),
    tag(
        "<function=get_weather>\n<parameter=city>\nPa<b>ris\n</parameter>\n"
        "<parameter=days>\n3\n</parameter>\n<parameter=x>7</parameter>\n</function>"
    ): ("", [("get_weather", '{"city": "Pa<b>ris", "days": 3, "x": "7"}')]),
    tag("<function=get_weather><parameter=days>soon</parameter></function>"): (
        "",
        [("get_weather", '{"days": "soon"}')],
    ),
    # Without a mark, and nothing else.
    W: ("", [PARIS]),
    f"```json\n{W}\n```": ("", [PARIS]),
    f"```\n{W}\n```\n": ("", [PARIS]),
    f" <tools>\n{W}\n</tools>": ("", [PARIS]),
    f"```json\n{W}\n{T}\n```": ("", [PARIS, NONE]),
    f"[{W}, {T}]": ("", [PARIS, NONE]),
    f"```json\n[{W},\n {T}\n]\n```": ("", [PARIS, NONE]),
    f"{W}\n{T}": ("", [PARIS, NONE]),
    f"{{{W}}}": ("", [PARIS]),
    f"```json\n{{{W}}}\n{{{T}}}\n```": ("", [PARIS, NONE]),
    tag(f"{{{W}}}"): ("", [PARIS]),
    f"```json\n{W}\n``": ("", [PARIS]),
    '{ "name" : "get_time" ,\n"parameters":{ } }': ("", [("get_time", "{ }")]),
}
TEXTS = (
    "",
    "Hello.",
    " \n",
    "a < b and <tool> or <tool_call",
    "<tool_call>",
    "<tool_call>\n",
    "<tool_call> hello </tool_call>",
    "<tool_call>\n<function",
    "<tool_call>\n<function=nobody>\n</function>\n</tool_call>",
    tag('{"name": "nobody", "arguments": {}}'),
    tag('{"name": "get_time", "arguments": [1]}'),
    tag('{"name": 1}'),
    tag("[]"),
    '<tool_call>{"name": "get_t',
    '{"name": "John", "arguments": {}}',
    '{"name": "get_time"}',
    '{"name": "get_weather", "arguments": {"city": "Pa',
    f"{W} is what I would call.",
    f"```json\n{W}\n```\nThis asks for the weather.",
    f"Like this:\n{W}",
    f"[{W}, 1]",
    "```json\n[1, 2]\n```",
    "```python\nprint()\n```",
    f"{{{W}",
    f"{{{{{W}}}}}",
    '{"a": 1}',
    "[",
    "``",
    " " * 70 + W,
    '{"name":' + " " * 70 + '"get_time", "arguments": {}}',
)


@pytest.mark.parametrize("text", CALLS)
def test_what_is_a_call(text: str) -> None:
    assert read(text) == CALLS[text]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_none_is_said_as_it_stands(text: str) -> None:
    assert read(text) == (text, [])


ANY = st.one_of(
    st.sampled_from([*CALLS, *TEXTS]),
    st.lists(
        st.sampled_from(
            [W, T, "<tool_call>", "</tool_call>", "```json", "```", "\n", "[", "]", ",", '"', "{", "}", "a"]
        ),
        max_size=9,
    ).map("".join),
    st.tuples(st.sampled_from([*CALLS]), st.integers(0, 200), st.text(max_size=3)).map(
        lambda made: made[0][: made[1]] + made[2]
    ),
)


@settings(max_examples=1500, deadline=None)
@given(ANY, st.data())
def test_the_outcome_does_not_depend_on_the_pieces(text: str, data: st.DataObject) -> None:
    kept = data.draw(st.booleans())
    split = data.draw(st.integers(0, len(text)))
    prefix, answer = text[:split], text[split:]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=6)))
    ends = [*cuts, len(answer)]
    cut = [answer[a:b] for a, b in zip([0, *cuts], ends, strict=True)]
    for before in ("", prefix):
        assert read(*cut, prefix=before, kept=kept) == read(answer, prefix=before, kept=kept)
        assert read(*answer, prefix=before, kept=kept) == read(answer, prefix=before, kept=kept)


@pytest.mark.parametrize("text", CALLS)
def test_a_call_that_the_caller_began_is_given_whole(text: str) -> None:
    said, calls = CALLS[text]
    before = text.split("<tool_call>")[0] if "<tool_call>" in text else ""
    for split in range(len(text) + 1):
        got_said, got = read(text[split:], prefix=text[:split])
        assert got == calls[len(calls) - len(got) :]
        assert (before + said if got_said and not said else said).endswith(got_said)
        if "</tool_call>" not in text[:split] and "}}" not in text[:split].replace(" ", ""):
            assert got == calls


def test_what_the_caller_wrote_is_not_said_again() -> None:
    assert read("call> it", prefix="Some <tool_") == ("call> it", [])
    assert read("bc", prefix="a") == ("bc", [])
    assert read(" is it", prefix=W) == (" is it", [])
    assert read('": 1}', prefix='{"a') == ('": 1}', [])
    assert read("\nDone", prefix=tag(W)) == ("\nDone", [])
    assert read("\n" + tag(T), prefix=tag(W)) == ("", [NONE])


def streamed(texts: list[str], kept: bool = False) -> list[str]:
    reader = ToolCalls(TOOLS, kept=kept)
    return [json.dumps(reader.feed(text)) for text in texts]


def test_arguments_come_when_they_are_certain() -> None:
    assert streamed(["<tool_call>\n", W[:10], W[10:40], W[40:50], W[50:]]) == [
        "[]",
        "[]",
        '[["call", "get_weather"], ["arguments", "{\\"c"]]',
        '[["arguments", "ity\\": \\"Par"]]',
        '[["arguments", "is\\"}"]]',
    ]
    assert streamed([W[:45], W[45:]]) == ["[]", "[]"]
    assert streamed([W[:41]], kept=True) == ['[["call", "get_weather"], ["arguments", "{\\"ci"]]']
    assert streamed(["Hi <", "tool", "s>"]) == ['[["text", "Hi "]]', "[]", '[["text", "<tools>"]]']
    assert streamed(['{"na', 'me": "John', '"']) == ["[]", "[]", '[["text", "{\\"name\\": \\"John\\""]]']


def events(*texts: str, reason: str = "stop") -> list[Event]:
    calling = Calling("r", TOOLS, 1, "", False)
    sent = [Text(0, text, 2, (TokenLogprob(text.encode(), -1.0),)) for text in texts]
    return [made for event in [*sent, Ended(0, reason)] for made in calling.read(event)]  # type: ignore[arg-type]


def test_events_and_their_tokens() -> None:
    got = events("Hm", " <", "tool_call>", W[:30], W[30:], "\n</tool_call>", "\n")
    started = next(event for event in got if isinstance(event, CallStarted))
    assert len(started.id) == 27
    assert started.id == events(tag(T))[0].id  # type: ignore[union-attr]
    assert got == [
        Text(0, "Hm", 2, (TokenLogprob(b"Hm", -1.0),)),
        Text(0, " ", 2, (TokenLogprob(b" <", -1.0),)),
        CallStarted(0, 0, started.id, "get_weather"),
        CallArguments(0, 0, '{"city": "Paris"}', 6),
        Text(0, "", 4),
        Ended(0, "tool_calls"),
    ]
    assert events("Hm", reason="length")[-1] == Ended(0, "length")
    assert events(tag(W), reason="length")[-1] == Ended(0, "length")
    two = fold(events(tag(W) + tag(T)), 1).choices[0]
    assert [(call.name, call.arguments) for call in two.tool_calls] == [PARIS, NONE]
    assert len({call.id for call in two.tool_calls}) == 2
    assert two.tokens == 2
