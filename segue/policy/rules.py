"""Do the fields of a request agree, with each other and with the model?  Two tables, read from the top.

Laws: the first broken rule is the answer; a rule is pure and sees the request and the card only, one
about documents the request and their limits;
what is not forbidden here is allowed.  Types, ranges and shapes were the reader's business, room in
the context is `prompt/budget`'s, the length of documents `prompt/reading`'s, words are the writer's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
from segue.core.generation import ModelCard
from segue.core.request import Kind, Request


@dataclass(frozen=True, slots=True)
class Rule:
    """A request that `breaks` the rule is refused with `fault`."""

    name: str
    breaks: Callable[[Request, ModelCard], bool]
    fault: Callable[[Request, ModelCard], Fault]


def _thinks(request: Request, card: ModelCard) -> bool:
    """Whether the answer begins with a thought.  A wish on a model that cannot think is ignored, as the original
    does; there is no rule for it."""
    return card.thinks(request.thinking) or request.thought is not None


RULES: tuple[Rule, ...] = (
    # The readers have told it before; here no door can forget it.
    Rule(
        "the caller may use the model",
        lambda request, card: not request.caller.may_use(request.model, card.name),
        lambda request, card: ModelDenied(request.model),
    ),
    Rule(
        "somebody has said something",
        lambda request, card: not request.messages and request.plain is None,
        lambda request, card: MessagesInvalid("no_user"),
    ),
    Rule(
        "a thought is gone on with by a model that can think",
        lambda request, card: _inside(request) and not card.abilities & {"thinking", "always_thinking"},
        lambda request, card: NotSupported("thinking", card.name),
    ),
    Rule(
        "a thought is not gone on with where none is wanted",
        lambda request, card: _inside(request) and request.thinking is False,
        lambda request, card: ThinkingRefused("thought"),
    ),
    Rule(
        "a model that always thinks is not told not to",
        lambda request, card: request.thinking is False and "always_thinking" in card.abilities,
        lambda request, card: ThinkingRefused("off"),
    ),
    Rule(
        "a prefix and thinking exclude each other",
        lambda request, card: (
            request.prefix is not None
            and request.thought is None
            and (request.thinking is True or card.thinks(request.thinking))
        ),
        lambda request, card: PartialWithThinking(),
    ),
    Rule(
        "some models answer in streams only",
        lambda request, card: "stream_only" in card.abilities and not request.delivery.stream,
        lambda request, card: StreamsOnly("whole"),
    ),
    Rule(
        "some models think in streams only",
        lambda request, card: _thinks(request, card) and _whole_only(request, card),
        lambda request, card: ThinkingRefused("whole"),
    ),
    Rule(
        "a thought is written in messages only",
        lambda request, card: _thinks(request, card) and request.delivery.bare,
        lambda request, card: ThinkingRefused("text"),
    ),
    Rule(
        "a thought is streamed in increments",
        lambda request, card: (
            _thinks(request, card) and request.delivery.stream and request.delivery.cumulative is True
        ),
        lambda request, card: ThinkingRefused("cumulative"),
    ),
    Rule(
        "models that answer in streams only do so in increments",
        lambda request, card: "stream_only" in card.abilities and request.delivery.cumulative is True,
        lambda request, card: StreamsOnly("cumulative"),
    ),
    Rule(
        "a thought has no form",
        lambda request, card: _thinks(request, card) and request.format.kind != "text",
        lambda request, card: ThinkingRefused("json"),
    ),
    Rule(
        "no call is demanded of a model that thinks",
        lambda request, card: _thinks(request, card) and _must_call(request),
        lambda request, card: ThinkingRefused("tool_choice"),
    ),
    Rule(
        "a model that thinks gives one answer",
        lambda request, card: _thinks(request, card) and request.choices > 1,
        lambda request, card: OutOfRange("n", request.choices, 1),
    ),
    Rule(
        "a prefix needs a model that can continue one",
        lambda request, card: _goes_on(request) and "partial" not in card.abilities,
        lambda request, card: LastRoleInvalid(),
    ),
    Rule(
        "without a prefix, the last message is somebody else's",
        lambda request, card: not _goes_on(request) and _spoke_last(request) in ("assistant", "system"),
        lambda request, card: LastRoleInvalid(),
    ),
    Rule(
        "pictures need a model that sees",
        lambda request, card: card.sight is None and any(message.media for message in request.messages),
        lambda request, card: NotSupported("media", card.name),
    ),
    Rule(
        "tools need a model that can call them",
        lambda request, card: bool(request.offered) and "tools" not in card.abilities,
        lambda request, card: NotSupported("tools", card.name),
    ),
    Rule(
        "a call can be demanded of a model that is kept to it only",
        lambda request, card: _must_call(request) and "json" not in card.abilities,
        lambda request, card: NotSupported("tools", card.name),
    ),
    Rule(
        "tools and a wanted form exclude each other",
        lambda request, card: bool(request.offered) and request.format.kind != "text",
        lambda request, card: FormatInvalid("tools and a form of the answer exclude each other"),
    ),
    Rule(
        "a form of the answer needs a model that keeps to it",
        lambda request, card: request.format.kind != "text" and "json" not in card.abilities,
        lambda request, card: _no_form(request.format.kind, card),
    ),
    Rule(
        "JSON mode is told to the model too",
        lambda request, card: request.format.kind == "json_object" and not _names_json(request),
        lambda request, card: MessagesInvalid("no_json"),
    ),
)


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """What a conversation with a model that reads documents may be.  `turns_alternate`: user and assistant take
    turns, and nobody else speaks; `files_max`: how many files it may be about; `output_tokens_default`: how long its
    answer may become where it does not say (0: as the model's own answers)."""

    turns_alternate: bool = True
    files_max: int = 99
    output_tokens_default: int = 0


@dataclass(frozen=True, slots=True)
class DocumentRule:
    """A request to a model that reads documents; it is refused with `fault` when it `breaks` the rule."""

    name: str
    breaks: Callable[[Request, DocumentLimits], bool]
    fault: Callable[[DocumentLimits], Fault]


DOCUMENT_RULES: tuple[DocumentRule, ...] = (
    DocumentRule(
        "user and assistant take turns",
        lambda request, limits: limits.turns_alternate and not _alternate(request),
        lambda limits: RolesInvalid(),
    ),
    DocumentRule(
        "documents are files or texts, not both",
        lambda request, limits: len({each.id is None for each in request.documents or ()}) > 1,
        lambda limits: DocumentsMixed(),
    ),
    DocumentRule(
        "so many files and no more",
        lambda request, limits: sum(each.id is not None for each in request.documents or ()) > limits.files_max,
        lambda limits: FilesTooMany(limits.files_max),
    ),
)


def _spoke_last(request: Request) -> str | None:
    return request.messages[-1].role if request.messages else None


def _goes_on(request: Request) -> bool:
    return request.prefix is not None or request.thought is not None


def _inside(request: Request) -> bool:
    """Whether the model is to go on inside a thought of the caller's."""
    return request.thought is not None and request.prefix is None


def _whole_only(request: Request, card: ModelCard) -> bool:
    return "stream_thinking" in card.abilities and not request.delivery.stream


def _alternate(request: Request) -> bool:
    """Whether the turns, system messages aside, are a user's and an assistant's by turns, a user's first and last."""
    roles = [message.role for message in request.messages if message.role != "system"]
    return len(roles) % 2 == 1 and all(
        role == ("assistant" if place % 2 else "user") for place, role in enumerate(roles)
    )


def _no_form(kind: Kind, card: ModelCard) -> Fault:
    assert kind != "text"
    return NotSupported(kind, card.name)


def _must_call(request: Request) -> bool:
    return bool(request.offered) and request.tool_choice.mode != "auto"


def _names_json(request: Request) -> bool:
    """Whether a system or user message has the word; without it models fill the room with blanks."""
    return any("json" in each.content.lower() for each in request.messages if each.role in ("system", "user"))


def check(request: Request, card: ModelCard, limits: DocumentLimits = DocumentLimits()) -> None:
    """Raise the Fault of the first broken rule."""
    for rule in RULES:
        if rule.breaks(request, card):
            raise rule.fault(request, card)
    if request.documents is None:
        return
    for about in DOCUMENT_RULES:
        if about.breaks(request, limits):
            raise about.fault(limits)
