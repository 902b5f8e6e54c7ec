"""What the model sees of a conversation: its own chat template, rendered as transformers renders it.

    Request.messages -> plain values, caller text marked -> Jinja, sandboxed -> segments

Laws: the joined text of the segments is what the template prints for the plain strings; control
segments are only those that the template itself printed (`caller.py` says how); the assistant turn is
opened, never filled: the prefix does not pass through here.  Pure: the clock is an argument.

The template is the operator's choice, the strings are the caller's.  Both run in Jinja's immutable
sandbox; output, multiplication and recursion are bounded.  It refuses to know tokens and limits of the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from segue.core.errors import MessagesInvalid
from segue.core.generation import ModelCard, Segment
from segue.core.media import Medium, Placed
from segue.core.request import Caller, Message, Request, Tool, ToolCall
from segue.prompt import thinking
from segue.prompt.caller import CallerText, free_mark, segments, spellings
from segue.prompt.opening import Opening, find
from segue.prompt.pictures import PADS

TEMPLATES_CACHED_MAX = 32
TEMPLATE_CHARACTERS_MAX = 1_000_000  # what a template may print on its own account
EXPANSION_MAX = 8  # how often it may print each character of the caller's
MULTIPLIED_MAX = 1_000_000  # the longest string or largest number that `*` may make
REFUSAL_CHARACTERS_MAX = 300
_SOME_DAY = datetime(2000, 1, 1)  # for templates that do not test whether they may ask for the date

_SOME_TOOL = Tool("quorvane_zembluth", "", {"type": "object", "properties": {}})

Value = object  # a JSON value whose strings may be `CallerText`
Own = Callable[[str], str]


class _Generation(Extension):
    """`{% generation %}` marks answers for training; for us it is its body."""

    tags = {"generation"}  # noqa: RUF012  # the base class declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """The environment of transformers, with limits."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        if operator == "**":
            raise jinja2.exceptions.SecurityError("powers are not allowed in a chat template")
        size = _size(left) * _size(right)
        if size > MULTIPLIED_MAX:
            raise jinja2.exceptions.SecurityError("the product is too large")
        return super().call_binop(context, operator, left, right)

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join; a single piece stays what it is, so that a macro that prints a caller's text returns it readable."""
        full = [part for part in parts if part]
        return full[0] if len(full) == 1 else "".join(full)


def _size(factor: object) -> int:
    match factor:
        case str() | list() | tuple():
            return len(factor)
        case int() | float():
            return int(abs(factor)) + 1
    return 1


def _tojson(
    value: Value,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers has it: Jinja's own filter escapes HTML characters, which models were not trained on."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def _environment() -> _Sandbox:
    made = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, LoopControlExtension])
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = _raise_exception
    return made


_ENVIRONMENT = _environment()


@lru_cache(maxsize=TEMPLATES_CACHED_MAX)
def _compiled(source: str) -> jinja2.Template:
    template = _ENVIRONMENT.from_string(source)
    template.globals = dict(template.globals)  # made a ChainMap, which every rendering would walk
    return template


def check(card: ModelCard) -> None:
    """Raise ValueError, with a sentence for the operator, when the card's template cannot be used."""
    if not card.template.strip():
        raise ValueError(f"model {card.name!r} has no chat template; give it one in its settings")
    try:
        _compiled(card.template)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(
            f"the chat template of model {card.name!r} cannot be read: line {error.lineno}: {error.message}"
        ) from error
    except (jinja2.TemplateError, RecursionError, SyntaxError, ValueError) as error:
        raise ValueError(f"the chat template of model {card.name!r} cannot be read: {error}") from error
    opening(card)
    if card.sight is not None and not shows_pictures(card):
        raise ValueError(
            f"the chat template of model {card.name!r} shows no pictures; give it the one that the model ships"
        )


@lru_cache(maxsize=TEMPLATES_CACHED_MAX)
def shows_pictures(card: ModelCard) -> bool:
    """Whether the card's template leaves room for a picture, and for a video, where they stand in a message."""
    media = Placed(1, Medium("image", ("?",))), Placed(2, Medium("video", ("?",)))
    message = Message("user", "abc", media=media)
    request = Request(id="", caller=Caller("", ""), model=card.name, messages=(message,))
    try:
        printed = render(card, request, _SOME_DAY)
    except MessagesInvalid:
        return False
    pads = [segment.text for segment in printed if segment.control and segment.text in PADS.values()]
    return pads == [PADS["image"], PADS["video"]]


@lru_cache(maxsize=TEMPLATES_CACHED_MAX)
def opening(card: ModelCard) -> Opening:
    """How the card's template opens an assistant's turn and ends one; found once a card.

    Raises ValueError, with a sentence for the operator, when it cannot be continued.
    """

    def rendered(messages: Sequence[Message], opened: bool) -> str:
        request = Request(id="", caller=Caller("", ""), model=card.name, messages=tuple(messages))
        return "".join(segment.text for segment in render(card, request, _SOME_DAY, opened))

    try:
        return find(rendered, spellings(card.control_tokens))
    except ValueError as error:
        raise ValueError(f"the chat template of model {card.name!r} {error}; give the model another one") from error


@lru_cache(maxsize=TEMPLATES_CACHED_MAX)
def able(card: ModelCard) -> ModelCard:
    """The card with the abilities that its template gives: one that prints tools can be asked to call them, one that
    knows of thoughts to think."""
    return _thinking(_calling(card))


def _thinking(card: ModelCard) -> ModelCard:
    return replace(card, abilities=(card.abilities - {"thinking", "always_thinking"}) | thoughts(card).abilities)


@lru_cache(maxsize=TEMPLATES_CACHED_MAX)
def thoughts(card: ModelCard) -> thinking.Habit:
    """How the card's template has its model think."""
    shown = replace(card, abilities=card.abilities - {"always_thinking"} | {"thinking"})

    def tried(wish: bool) -> str:
        message = Message("user", _SOME_TOOL.name)
        request = Request(id="", caller=Caller("", ""), model=card.name, messages=(message,), thinking=wish)
        return "".join(segment.text for segment in _rendered(shown, request, _SOME_DAY, True))

    try:
        return thinking.habit(card.template, tried(True), tried(False), _SOME_TOOL.name)
    except MessagesInvalid:
        return thinking.Habit()


def _calling(card: ModelCard) -> ModelCard:
    shown = replace(card, abilities=card.abilities | {"tools"})
    request = Request(
        id="", caller=Caller("", ""), model=card.name, messages=(Message("user", "?"),), tools=(_SOME_TOOL,)
    )
    try:
        text = "".join(segment.text for segment in render(shown, request, _SOME_DAY))
    except MessagesInvalid:
        text = ""
    return shown if _SOME_TOOL.name in text else replace(card, abilities=card.abilities - {"tools"})


@lru_cache(maxsize=TEMPLATES_CACHED_MAX)
def begins(card: ModelCard) -> bool:
    """Whether every text of the card's model begins with its first token: its template prints that by its name."""
    if not card.bos_token or "bos_token" not in card.template or card.bos_token not in card.control_tokens:
        return False
    request = Request(id="", caller=Caller("", ""), model=card.name, messages=(Message("user", "?"),))
    try:
        return render(card, request, _SOME_DAY)[:1] == [Segment(card.bos_token, True)]
    except MessagesInvalid:
        return False


@lru_cache(maxsize=TEMPLATES_CACHED_MAX)
def own(card: ModelCard) -> frozenset[str]:
    """What the card's template says in every prompt: how it opens, and what it says for a system that is not there."""
    message = Message("user", _SOME_TOOL.name)
    request = Request(id="", caller=Caller("", ""), model=card.name, messages=(message,))
    try:
        printed = _rendered(card, request, _SOME_DAY, True)
    except MessagesInvalid:
        return frozenset()
    return frozenset(each.text for each in printed if not each.control and _SOME_TOOL.name not in each.text)


@lru_cache(maxsize=TEMPLATES_CACHED_MAX)
def prints_system(card: ModelCard) -> bool:
    """Whether the card's template prints what a system message says; some leave it out."""
    messages = Message("system", _SOME_TOOL.name), Message("user", "?")
    request = Request(id="", caller=Caller("", ""), model=card.name, messages=messages)
    try:
        return any(_SOME_TOOL.name in segment.text for segment in render(card, request, _SOME_DAY))
    except MessagesInvalid:
        return False


def render(card: ModelCard, request: Request, now: datetime | None = None, opened: bool = True) -> list[Segment]:
    """The conversation, with the assistant turn opened unless told otherwise, and in it the thought of a model that
    is to think; a whole thought of the caller's stands there closed.

    `now` is what `strftime_now` tells a template that asks for the date; without it the name is
    undefined, and templates that test for it use a date of their own.  Raises
    MessagesInvalid("template") when the template refuses the conversation or fails on it.
    """
    known = own(card)
    made = [
        Segment(each.text, own=True) if each.text in known else each for each in _rendered(card, request, now, opened)
    ]
    if opened and card.thinks(request.thinking):
        made += thinking.opening(card, thoughts(card).opens)
        if request.thought is not None and request.prefix is not None:
            made += [Segment(request.thought), *thinking.closing(card, request.thought.endswith("\n"))]
    return made


def _rendered(card: ModelCard, request: Request, now: datetime | None, opened: bool) -> list[Segment]:
    known = spellings(card.control_tokens)
    texts = [card.template]
    mark = ""

    def seen(text: str) -> str:
        texts.append(text)
        return text

    try:
        _conversation(card, request, seen, opened)
        mark = free_mark(texts)
        context = _conversation(card, request, lambda text: CallerText.of(text, known, mark), opened)
        if now is not None:
            context["strftime_now"] = now.strftime
        rendered = _printed(card.template, context, TEMPLATE_CHARACTERS_MAX + EXPANSION_MAX * sum(map(len, texts)))
    except (jinja2.TemplateError, RecursionError, MemoryError) as error:
        raise _refusal(error, mark) from error
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # What Python raises for a template's own mistakes: adding None to a string, an index out of range.
        raise _refusal(error, mark) from error
    return segments(rendered, known, mark)


def _refusal(error: Exception, mark: str) -> MessagesInvalid:
    message = error.message if isinstance(error, jinja2.TemplateError) else str(error)
    reason = (message or type(error).__name__).replace(mark, "")
    return MessagesInvalid("template", value=reason[:REFUSAL_CHARACTERS_MAX])


def _conversation(card: ModelCard, request: Request, own: Own, opened: bool) -> dict[str, Value]:
    """The variables of a template, with every string of the caller's passed through `own`."""
    shown = request.offered if "tools" in card.abilities else ()
    return {
        "messages": [_message(message, own) for message in request.messages],
        "tools": [_tool(tool, own) for tool in shown] or None,
        "documents": None,
        "add_generation_prompt": opened,
        "enable_thinking": card.thinks(request.thinking),
        "thinking": card.thinks(request.thinking),  # as DeepSeek's templates call it
        "bos_token": card.bos_token,
        "eos_token": card.eos_token,
    }


def _printed(source: str, context: Mapping[str, Value], characters_max: int) -> str:
    parts: list[str] = []
    for part in _compiled(source).generate(context):
        characters_max -= len(part)
        if characters_max < 0:
            raise jinja2.TemplateError("the template prints too much")
        parts.append(part)
    return "".join(parts)


def _message(message: Message, own: Own) -> dict[str, Value]:
    """A turn as templates know it.  Keys are there only when they say something: templates test for them."""
    made: dict[str, Value] = {"role": message.role, "content": _content(message, own)}
    if message.name is not None:
        made["name"] = own(message.name)
    if message.tool_calls:
        made["tool_calls"] = [_tool_call(call, own) for call in message.tool_calls]
    if message.tool_call_id is not None:
        made["tool_call_id"] = own(message.tool_call_id)
    if message.reasoning is not None:
        made["reasoning_content"] = own(message.reasoning)
    return made


def _content(message: Message, own: Own) -> Value:
    """The text; where pictures stand in it, a list of parts."""
    if not message.media:
        return own(message.content)
    parts: list[Value] = []
    begin = 0
    for placed in message.media:
        if text := message.content[begin : placed.at]:
            parts.append({"type": "text", "text": own(text)})
        parts.append({"type": placed.medium.sort})
        begin = placed.at
    if text := message.content[begin:]:
        parts.append({"type": "text", "text": own(text)})
    return parts


def _tool_call(call: ToolCall, own: Own) -> dict[str, Value]:
    function = {"name": own(call.name), "arguments": _owned(_arguments(call.arguments), own)}
    return {"id": own(call.id), "type": "function", "function": function}


def _arguments(text: str) -> Value:
    """A mapping where the text is a JSON object that UTF-8 can carry (`"\\ud800"` is not), else the text itself."""
    try:
        value = json.loads(text)
        if isinstance(value, dict) and "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        # Not JSON, a lone surrogate, an endless number or too deep: shown as it was written.
        return text
    return value if isinstance(value, dict) else text


def _tool(tool: Tool, own: Own) -> dict[str, Value]:
    function = {
        "name": own(tool.name),
        "description": own(tool.description),
        "parameters": _owned(tool.parameters, own),
    }
    return {"type": "function", "function": function}


def _owned(value: Value, own: Own) -> Value:
    """The same JSON value with every string, keys too, passed through `own`."""
    if isinstance(value, str):
        return own(value)
    if isinstance(value, Mapping):
        return {own(str(key)): _owned(item, own) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_owned(item, own) for item in value]
    return value
