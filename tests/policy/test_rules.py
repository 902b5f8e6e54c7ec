"""The table of rules, row by row."""

from __future__ import annotations

import pytest

from segue.core.errors import (
    DocumentsMixed,
    Fault,
    FilesTooMany,
    FormatInvalid,
    LastRoleInvalid,
    MessagesInvalid,
    ModelDenied,
    NotSupported,
    OutOfRange,
    PartialWithThinking,
    RolesInvalid,
    StreamsOnly,
    ThinkingRefused,
)
from segue.core.generation import Ability
from segue.core.media import Medium, Placed
from segue.core.request import Caller, Delivery, Format, Message, Request, Source, Tool, ToolChoice
from segue.policy import rules
from tests.prompt.templates import LLAMA_TOKENS, card
from tests.requests import request, said, user

TOOL = Tool("f", "", {})
EVERYTHING: frozenset[Ability] = frozenset({"partial", "tools", "json", "thinking", "vision", "score"})

NOTHING: frozenset[Ability] = frozenset()
ALWAYS: frozenset[Ability] = frozenset({"partial", "tools", "json", "always_thinking"})
ONLY_STREAMS: frozenset[Ability] = frozenset({"partial", "stream_only"})
STREAMING: frozenset[Ability] = frozenset({"partial", "thinking", "stream_thinking"})

# rule, a request that breaks it, the abilities with which it does, the fault, its facts
BROKEN: list[tuple[str, Request, frozenset[Ability], type[Fault], tuple[object, ...]]] = [
    (
        "the caller may use the model",
        request(model="qwen-plus", caller=Caller("k", "w", models=frozenset({"qwen-max"}))),
        EVERYTHING,
        ModelDenied,
        ("qwen-plus",),
    ),
    (
        "the caller may use the model",
        request(model="a", caller=Caller("k", "w", models=frozenset({"a"}), key_models=frozenset())),
        EVERYTHING,
        ModelDenied,
        ("a",),
    ),
    (
        "pictures need a model that sees",
        request(Message("user", "a", media=(Placed(0, Medium("image", ("https://example.com/a.png",))),))),
        EVERYTHING,
        NotSupported,
        ("media", "m"),
    ),
    ("somebody has said something", request(), EVERYTHING, MessagesInvalid, ("no_user", -1, "")),
    ("somebody has said something", request(prefix="x"), EVERYTHING, MessagesInvalid, ("no_user", -1, "")),
    (
        "a prefix and thinking exclude each other",
        request(user("a"), prefix="", thinking=True),
        EVERYTHING,
        PartialWithThinking,
        (),
    ),
    *(
        ("a thought is gone on with by a model that can think", request(user("a"), thought="x"), NOTHING, *fault)
        for fault in ((NotSupported, ("thinking", "m")),)
    ),
    (
        "a thought is not gone on with where none is wanted",
        request(user("a"), thought="x", thinking=False),
        EVERYTHING,
        ThinkingRefused,
        ("thought",),
    ),
    (
        "a model that always thinks is not told not to",
        request(user("a"), thinking=False),
        ALWAYS,
        ThinkingRefused,
        ("off",),
    ),
    ("a prefix and thinking exclude each other", request(user("a"), prefix="x"), ALWAYS, PartialWithThinking, ()),
    ("some models answer in streams only", request(user("a")), ONLY_STREAMS, StreamsOnly, ("whole",)),
    (
        "models that answer in streams only do so in increments",
        request(user("a"), delivery=Delivery(True, cumulative=True)),
        ONLY_STREAMS,
        StreamsOnly,
        ("cumulative",),
    ),
    (
        "some models think in streams only",
        request(user("a"), thinking=True),
        STREAMING,
        ThinkingRefused,
        ("whole",),
    ),
    (
        "a thought is written in messages only",
        request(user("a"), thinking=True, delivery=Delivery(bare=True)),
        EVERYTHING,
        ThinkingRefused,
        ("text",),
    ),
    (
        "a thought is streamed in increments",
        request(user("a"), thinking=True, delivery=Delivery(True, True)),
        EVERYTHING,
        ThinkingRefused,
        ("cumulative",),
    ),
    *(
        ("a thought has no form", request(user("json"), thinking=True, format=form), EVERYTHING, *fault)
        for form in (Format("json_object"), Format("json_schema", schema={}), Format("regex", source="a"))
        for fault in ((ThinkingRefused, ("json",)),)
    ),
    *(
        (
            "no call is demanded of a model that thinks",
            request(user("a"), thinking=True, tools=(TOOL,), tool_choice=choice),
            EVERYTHING,
            *fault,
        )
        for choice in (ToolChoice("required"), ToolChoice("function", "f"))
        for fault in ((ThinkingRefused, ("tool_choice",)),)
    ),
    (
        "a model that thinks gives one answer",
        request(user("a"), thinking=True, choices=2),
        EVERYTHING,
        OutOfRange,
        ("n", 2),
    ),
    (
        "a prefix needs a model that can continue one",
        request(user("a"), prefix="x"),
        EVERYTHING - {"partial"},
        LastRoleInvalid,
        (),
    ),
    (
        "without a prefix, the last message is somebody else's",
        request(user("a"), said("b")),
        EVERYTHING,
        LastRoleInvalid,
        (),
    ),
    (
        "without a prefix, the last message is somebody else's",
        request(user("a"), Message("system", "b")),
        EVERYTHING,
        LastRoleInvalid,
        (),
    ),
    (
        "tools need a model that can call them",
        request(user("a"), tools=(TOOL,)),
        EVERYTHING - {"tools"},
        NotSupported,
        ("tools", "m"),
    ),
    *[
        (
            "a call can be demanded of a model that is kept to it only",
            request(user("a"), tools=(TOOL,), tool_choice=choice),
            EVERYTHING - {"json"},
            NotSupported,
            ("tools", "m"),
        )
        for choice in (ToolChoice("required"), ToolChoice("function", "f"))
    ],
    (
        "tools and a wanted form exclude each other",
        request(user("a jSoN"), tools=(TOOL,), format=Format("json_object"), prefix="x"),
        EVERYTHING,
        FormatInvalid,
        ("tools and a form of the answer exclude each other",),
    ),
    (
        "a form of the answer needs a model that keeps to it",
        request(user("a"), format=Format("json_object")),
        EVERYTHING - {"json"},
        NotSupported,
        ("json_object", "m"),
    ),
    (
        "a form of the answer needs a model that keeps to it",
        request(user("a"), format=Format("json_schema", schema={})),
        EVERYTHING - {"json"},
        NotSupported,
        ("json_schema", "m"),
    ),
    (
        "a form of the answer needs a model that keeps to it",
        request(user("a"), format=Format("regex", source="a+")),
        EVERYTHING - {"json"},
        NotSupported,
        ("regex", "m"),
    ),
    (
        "a form of the answer needs a model that keeps to it",
        request(user("a"), format=Format("grammar", source='start: "a"')),
        EVERYTHING - {"json"},
        NotSupported,
        ("grammar", "m"),
    ),
    (
        "JSON mode is told to the model too",
        request(user("a"), said("JSON"), user("b"), format=Format("json_object")),
        EVERYTHING,
        MessagesInvalid,
        ("no_json", -1, ""),
    ),
]

KEPT: list[tuple[Request, frozenset[Ability]]] = [
    (request(user("a")), NOTHING),
    (request(user("a"), prefix="x"), frozenset({"partial"})),
    (request(user("a"), prefix="x", thinking=False), EVERYTHING),
    (request(user("a"), said("b"), prefix="x"), EVERYTHING),
    (request(user("a"), thinking=True), NOTHING),
    # A model that cannot think answers as if nothing had been said of it.
    (request(user("a"), thinking=True, delivery=Delivery(True, True, True), choices=2), NOTHING),
    (request(user("a"), thinking=True, delivery=Delivery(True)), STREAMING),
    (request(user("a"), thinking=True, delivery=Delivery(False, True)), EVERYTHING),
    (request(user("a"), thinking=True, tools=(TOOL,)), EVERYTHING),
    (request(user("a"), thought="x"), EVERYTHING),
    (request(user("a"), thought="x", thinking=True), ALWAYS),
    (request(user("a"), thought="x", prefix="y"), EVERYTHING),
    (request(user("a"), thought="x", prefix="y", thinking=True), EVERYTHING),
    (request(user("a"), thought="x", prefix="y", thinking=False), frozenset({"partial"})),
    (request(user("a"), tools=(TOOL,), tool_choice=ToolChoice("none")), NOTHING),
    (request(user("a"), tool_choice=ToolChoice("required")), NOTHING),
    (
        request(
            user("a jSoN"), tools=(TOOL,), tool_choice=ToolChoice("none"), format=Format("json_object"), prefix="x"
        ),
        EVERYTHING,
    ),
    (request(user("a"), tools=(TOOL,)), EVERYTHING - {"json"}),
    (request(user("a"), tools=(TOOL,), tool_choice=ToolChoice("required"), prefix="x"), EVERYTHING),
    (request(Message("system", "json"), user("a"), format=Format("json_object")), EVERYTHING),
    (request(user("a"), format=Format("json_schema", schema={})), EVERYTHING),
    (request(user("a"), format=Format("text")), NOTHING),
    (request(user("a"), model="x", caller=Caller("k", "w", models=frozenset({"m"}))), NOTHING),  # by its own name
    (
        request(user("a"), model="x", caller=Caller("k", "w", models=frozenset("xy"), key_models=frozenset("x"))),
        NOTHING,
    ),
    (request(user("a"), Message("tool", "b")), NOTHING),
]


@pytest.mark.parametrize(("name", "sent", "abilities", "fault", "facts"), BROKEN)
def test_broken(
    name: str, sent: Request, abilities: frozenset[Ability], fault: type[Fault], facts: tuple[object, ...]
) -> None:
    made = card("m", "", LLAMA_TOKENS, abilities=abilities)
    assert next(rule.name for rule in rules.RULES if rule.breaks(sent, made)) == name
    with pytest.raises(fault) as raised:
        rules.check(sent, made)
    assert raised.value.args == facts


@pytest.mark.parametrize(("sent", "abilities"), KEPT)
def test_kept(sent: Request, abilities: frozenset[Ability]) -> None:
    rules.check(sent, card("m", "", LLAMA_TOKENS, abilities=abilities))


def test_every_rule_has_a_case() -> None:
    assert {rule.name for rule in rules.RULES} == {name for name, *_ in BROKEN}


SYSTEM = Message("system", "Be brief.")
FILE, TEXT = Source("a"), Source(text="b")
HUNDRED = tuple(Source(str(number)) for number in range(100))
TURNS, MIXED, COUNT = [rule.name for rule in rules.DOCUMENT_RULES]

# rule, a request to a model that reads documents, the fault
UNREADABLE: list[tuple[str, Request, type[Fault]]] = [
    (TURNS, request(user("a"), user("b"), documents=()), RolesInvalid),
    (TURNS, request(SYSTEM, said("a"), user("b"), documents=()), RolesInvalid),
    (TURNS, request(user("a"), said("b"), Message("tool", "c"), documents=(FILE,)), RolesInvalid),
    (TURNS, request(user("a"), user("b"), documents=(FILE, TEXT)), RolesInvalid),
    (TURNS, request(user("a"), said("b"), prefix="c", documents=()), RolesInvalid),
    (MIXED, request(user("a"), documents=(FILE, TEXT)), DocumentsMixed),
    (MIXED, request(user("a"), documents=(TEXT, *HUNDRED)), DocumentsMixed),
    (COUNT, request(user("a"), documents=HUNDRED), FilesTooMany),
]

READABLE: list[Request] = [
    request(SYSTEM, user("a"), documents=(FILE,)),
    request(SYSTEM, user("a"), said("b"), user("c"), documents=HUNDRED[:99]),
    request(user("a"), prefix="b", documents=()),
    request(user("a"), documents=tuple(Source(text=str(number)) for number in range(200))),
    request(user("a"), user("b")),
]


@pytest.mark.parametrize(("name", "sent", "fault"), UNREADABLE)
def test_unreadable(name: str, sent: Request, fault: type[Fault]) -> None:
    limits = rules.DocumentLimits()
    assert next(rule.name for rule in rules.DOCUMENT_RULES if rule.breaks(sent, limits)) == name
    with pytest.raises(fault):
        rules.check(sent, card("m", "", LLAMA_TOKENS, abilities=EVERYTHING), limits)


@pytest.mark.parametrize("sent", READABLE)
def test_readable(sent: Request) -> None:
    rules.check(sent, card("m", "", LLAMA_TOKENS, abilities=EVERYTHING))


def test_turns_need_not_alternate_in_the_current_profile() -> None:
    free = rules.DocumentLimits(turns_alternate=False, files_max=100)
    made = card("m", "", LLAMA_TOKENS, abilities=EVERYTHING)
    rules.check(request(user("a"), user("b"), documents=HUNDRED), made, free)
    with pytest.raises(DocumentsMixed):
        rules.check(request(user("a"), user("b"), documents=(FILE, TEXT)), made, free)


def test_every_document_rule_has_a_case() -> None:
    assert {rule.name for rule in rules.DOCUMENT_RULES} == {name for name, *_ in UNREADABLE}
