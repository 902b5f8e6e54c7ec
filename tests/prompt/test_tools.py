"""The form of an answer that may call: what it allows, over bytes, and what it lets go."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.core.callforms import same
from segue.core.errors import PrefixIllegal, TooLarge
from segue.core.request import Message, Tool, ToolCall, ToolChoice
from segue.output.toolcalls import ToolCalls
from segue.prompt import tools
from segue.prompt.constraint import _compiled, check, compiles
from tests.requests import request, user

WEATHER = Tool(
    "get_weather",
    "",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
)
TIME = Tool("get_time", "", {})
W = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
T = '{"name": "get_time", "arguments": {}}'


def tag(inner: str) -> str:
    return f"<tool_call>\n{inner}\n</tool_call>"


class Form:
    """How far a text gets, and whether it may end."""

    def __init__(self, mode: str = "auto", name: str | None = None, parallel: bool = False, prefix: str = "") -> None:
        asked = request(
            user("?"),
            tools=(WEATHER, TIME),
            tool_choice=ToolChoice(mode, name),  # type: ignore[arg-type]
            parallel_tool_calls=parallel,
        )
        self.grammar = tools.constraint(asked, prefix)

    def legal(self, text: str) -> int:
        matcher = _compiled(self.grammar.grammar).deep_copy()
        return int(matcher.try_consume_tokens(list(text.encode())))

    def whole(self, text: str) -> bool:
        matcher = _compiled(self.grammar.grammar).deep_copy()
        data = list(text.encode())
        return bool(matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting())


def test_a_call_that_is_demanded() -> None:
    form = Form("required")
    assert form.whole(tag(W))
    assert form.whole(tag(T))
    assert form.whole(tag('{"name": "get_time", "arguments": {"any": [1]}}'))
    for text in ("", "Hello", W, tag(W) + "\n", tag(W) + "\n" + tag(T), tag('{"name": "nobody", "arguments": {}}')):
        assert not form.whole(text), text
    wrong = tag('{"name": "get_weather", "arguments": {"days"')
    assert form.legal(wrong) == wrong.encode().index(b"days")
    assert Form("required", parallel=True).whole(tag(W) + "\n" + tag(T))


def test_one_function_is_demanded() -> None:
    form = Form("function", "get_time")
    assert form.whole(tag(T))
    assert not form.whole(tag(W))


def test_what_was_decided_before_the_answer() -> None:
    asked = request(user("?"), tools=(WEATHER, TIME))
    call, text = Form(), Form()
    call.grammar, text.grammar = tools.begun(asked, True), tools.begun(asked, False)
    assert call.grammar == Form("required").grammar
    for said in ("Hello.", " \n你好", "I see.\n" + tag(W), "a `b` {c}"):
        assert text.whole(said), said
    for said in ("```json", W, "[1]", "<tool_call>", "\n{", ""):
        assert not text.whole(said), said
    probe = Form()
    probe.grammar = tools.probe()
    for said in ('<tool_call>\n{"name": "anything"', '<tool_call>\n{"name": "x", "y'):
        assert probe.legal(said) == len(said)


FREE = (
    "",
    "Hello.",
    "a < b <tool",
    '{"name": "John", "arguments": 1',
    "```python\nprint()\n```",
    '```json\n{"a": 1}\n```',
    f"For example {W}",
    "[1, 2]",
)
CALLS = (
    tag(W),
    "One moment.\n" + tag(T),
    W,
    f"```json\n{W}\n```",
    '```json\n{\n  "name": "get_weather",\n  "arguments": {\n    "city": "Paris"\n  }\n}\n```',
    f"<tools>\n{T}\n</tools>",
    f"[{W}]",
    f"```\n[\n{W}\n]\n```",
    f"{{{W}}}",
    f"```json\n{{{W}}}\n```",
)
SEVERAL = (tag(W) + "\n" + tag(T), f"{W}\n{T}", f"[{W}, {T}]", f"```json\n{W}\n{T}\n```", f"{{{W}}}\n{{{T}}}")


def test_where_the_model_decides() -> None:
    form, parallel = Form(), Form(parallel=True)
    for text in (*FREE, *CALLS):
        assert form.whole(text), text
        assert parallel.whole(text), text
    for text in SEVERAL:
        assert not form.whole(text), text
        assert parallel.whole(text), text
    for text in CALLS:
        assert not form.whole(text + " Bye"), text
        if "get_weather" in text:
            wrong = text.replace('"city"', '"town"')
            assert form.legal(wrong) == wrong.encode().index(b"town"), text


@pytest.mark.parametrize("text", [*CALLS, *SEVERAL])
def test_what_is_kept_to_as_a_call_is_read_as_one_at_once(text: str) -> None:
    """The form and its reader agree on where an unmarked call begins."""
    reader = ToolCalls((WEATHER, TIME), kept=True)
    got: list[Any] = [piece for each in text for piece in reader.feed(each)]
    before_the_end = [value for kind, value in got if kind == "arguments"]
    assert json.loads("".join(before_the_end).split("}{")[0].removesuffix("}") + "}") in ({"city": "Paris"}, {})
    got += reader.end()
    assert [value for kind, value in got if kind == "call"] == [
        name for name in ("get_weather", "get_time") if name in text
    ]
    assert not any(value.strip() for kind, value in got if kind == "text" and "moment" not in text)


PREFIXES = [(text[:at], text) for text in CALLS[:1] for at in range(len(text))]


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize(("prefix", "text"), PREFIXES)
def test_a_prefix_anywhere_in_a_call(mode: str, prefix: str, text: str) -> None:
    form = Form(mode, prefix=prefix)
    assert form.whole(text)
    assert form.grammar == Form(mode).grammar  # so that an answer resumes its own beginning


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize(
    "prefix",
    [
        '<tool_call>{"name":"get_weather","arguments":{"ci',
        '<tool_call>\n\n{ "name" : "get_weather", ',
        'Sure. 你好🙂\x01"\n<tool_call>{"name": "get_weather","arguments":{',
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "\\u676d\\u5d',
    ],
)
def test_a_prefix_that_is_spelled_otherwise(mode: str, prefix: str) -> None:
    whole = prefix.split("<tool_call>")[0] + '<tool_call>{"name":"get_weather","arguments":{"city":"x"}}</tool_call>'
    if "{ " not in prefix:
        assert Form(mode, prefix=prefix).whole(whole)
    assert Form(mode, prefix=prefix).legal(prefix) == len(prefix.encode())


def test_text_before_a_call_that_is_demanded_is_the_caller_s_only() -> None:
    form = Form("required", prefix="Sure.<tool_")
    assert form.whole("Sure." + tag(W))
    assert not form.whole("Sure. Yes." + tag(W))


def test_a_prefix_that_no_call_begins_with() -> None:
    with pytest.raises(PrefixIllegal) as raised:
        Form("required", prefix='<tool_call>\n{"name": "get_nothing"')
    assert raised.value.at == len('<tool_call>\n{"name": "get_')
    with pytest.raises(PrefixIllegal):
        Form("auto", prefix="<tool_call> hello")


LOOSE: list[tuple[dict[str, Any], str, bool]] = [
    ({}, '{"any": {"thing": 1}}', True),
    ({"type": "object", "properties": {}}, "{}", True),
    ({"type": "object", "properties": {}}, '{"a": 1}', False),
    ({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, '{"b": 1}', True),
    ({"type": "string"}, "{}", True),
    ({"type": "dict", "properties": {"a": {"type": "float"}}}, '{"a": 1.5}', True),
    ({"type": "dict", "properties": {"a": {"type": "float"}}}, '{"a": "x"}', False),
    ({"properties": {"a": {"type": "string", "format": "odd"}, "b": {"type": "integer"}}}, '{"a": "x", "b": 1}', True),
    ({"properties": {"a": {"type": "string", "format": "odd"}, "b": {"type": "integer"}}}, '{"b": "1"}', False),
    ({"properties": {"a": {"type": "string", "enum": ["x"], "format": "odd"}}}, '{"a": "y"}', False),
    ({"properties": {"a": {"not": {}}}}, '{"a": null}', True),
    ({"properties": {"a": {"type": "string"}}, "required": ["b"]}, "{}", True),
    ({"properties": {"a": {"type": "string"}}, "required": True}, "{}", True),
    ({"properties": {"a": {"$ref": "#/nowhere"}}}, '{"a": 1}', True),
    ({"properties": {"a": {"$ref": "#/$defs/s"}}, "$defs": {"s": {"type": "string"}}}, '{"a": 1}', False),
    ({"properties": None}, "{}", True),
    ({"properties": {"a": 1}}, '{"a": 2}', True),
    ({"properties": {"a": {"type": ["string", "null"]}}, "x-guidance": {"lenient": 1}}, '{"a": null}', True),
]


@pytest.mark.parametrize(("schema", "arguments", "legal"), LOOSE)
def test_no_schema_is_refused(schema: dict[str, Any], arguments: str, legal: bool) -> None:
    asked = request(user("?"), tools=(Tool("f", "", schema),), tool_choice=ToolChoice("required"))
    wanted = tools.constraint(asked, "")
    text = tag(f'{{"name": "f", "arguments": {arguments}}}').encode()
    if legal:
        check(wanted, text)
    else:
        with pytest.raises(PrefixIllegal):
            check(wanted, text)


@pytest.mark.parametrize("name", ['a"b', "a/b", "a.*", "a\\b", "工具", "a-b c", "a<b>&~#"])
@pytest.mark.parametrize("mode", ["auto", "required"])
def test_any_name_is_only_itself(name: str, mode: str) -> None:
    asked = request(user("?"), tools=(Tool(name, "", {}),), tool_choice=ToolChoice(mode))  # type: ignore[arg-type]
    called = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {{}}}}'
    check(tools.constraint(asked, ""), tag(called).encode())
    check(tools.constraint(asked, ""), called.encode() if mode == "auto" else b"")


def test_bounds() -> None:
    many = tuple(Tool(f"tool_{place}", "", WEATHER.parameters) for place in range(128))
    for mode in ("auto", "required"):
        asked = request(user("?"), tools=many, tool_choice=ToolChoice(mode))
        check(tools.constraint(asked, ""), tag(W.replace("get_weather", "tool_127")).encode())
    huge = Tool("f", "", {"properties": {"a": {"enum": ["x" * 100 + str(n) for n in range(5000)]}}})
    with pytest.raises(TooLarge):
        tools.constraint(request(user("?"), tools=(huge,)), "")


SCHEMAS = st.recursive(
    st.sampled_from(
        [{}, {"type": "string"}, {"type": "odd"}, {"enum": [1, "a"]}, {"format": "odd"}, {"$ref": "#"}, None, 1]
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "dict", 1]),
            "properties": st.dictionaries(st.sampled_from(["a", "b", "ü"]), inner, max_size=3),
            "items": inner,
            "required": st.one_of(st.just(["a"]), st.just("a"), st.none()),
            "not": inner,
            "anyOf": st.lists(inner, max_size=2),
        },
    ),
    max_leaves=6,
)


@settings(max_examples=150)
@given(SCHEMAS)
def test_whatever_a_schema_says_there_is_a_form(schema: Any) -> None:
    if isinstance(schema, dict):
        kept = tools._kept(tools._encoded(schema))
        assert compiles(dict(kept))
        assert kept["type"] == "object"


def test_calls_that_have_just_had_their_results() -> None:
    def called(*calls: tuple[str, str]) -> Message:
        return Message("assistant", "", tool_calls=tuple(ToolCall(name, name, text) for name, text in calls))

    def had(*messages: Message) -> frozenset[str]:
        return tools.answered(request(*messages, tools=(WEATHER, TIME)))

    result = Message("tool", "rain")
    first, second = ("get_weather", '{"city": "Oslo", "days": 1}'), ("get_time", "")
    assert had(user("?")) == frozenset()
    assert had(user("?"), called(first), result) == {same("get_weather", '{"days":1, "city":"Oslo"}')}
    assert had(user("?"), called(first, second), result, result) == {same(*first), same("get_time", "{}")}
    assert had(user("?"), called(first), result, called(second), result) == {same(*first), same(*second)}
    assert had(user("?"), called(first), result, user("and now?"), called(second), result) == {same(*second)}
    assert had(user("?"), called(first), result, user("again")) == frozenset()
    assert had(user("?"), called(("get_time", "{broken")), result) == {same("get_time", "{broken")}


def test_without_functions_a_line_says_what_results_are() -> None:
    call = Message("assistant", "", tool_calls=(ToolCall("a", "get_weather", "{}"),))
    result, rule = Message("tool", "rain"), Message("system", "Be brief.")
    told = tools.without(request(user("?"), call, result, tools=(WEATHER,)), "<tool_response>{{ content }}")
    assert told.tools == ()
    assert told.messages[1:] == (user("?"), call, result)
    assert told.messages[0].role == "system"
    assert "within <tool_response></tool_response> tags was returned" in told.messages[0].content
    told = tools.without(request(rule, user("?"), call, result, tools=(WEATHER,)), "{{ content }}")
    assert told.messages[1:] == (user("?"), call, result)
    assert told.messages[0].content.startswith("Be brief.\n\nWhat follows a call was returned")
    for messages in ((rule, user("?")), (user("?"), call, result, user("and now?"))):
        assert tools.without(request(*messages, tools=(WEATHER,)), "").messages == messages
