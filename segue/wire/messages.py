"""The list of messages: a conversation, and at its end perhaps a turn that stays open.

Why: both protocols share the list, its rules and Partial Mode; `Dialect` holds the few
differences.  Laws: the text of a message is never trimmed or changed; an open last turn leaves
the list and becomes the prefix, word for word; a turn nobody can answer is refused.  It knows
no template and no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from segue.core import frozen
from segue.core.errors import (
    FieldMissing,
    FieldWrong,
    LastRoleInvalid,
    MessagesInvalid,
    NotSupported,
    PartialUnclear,
    RolesInvalid,
    TooLarge,
)
from segue.core.media import Placed
from segue.core.request import Message, Role, Source, ToolCall
from segue.wire import media, sources
from segue.wire.fields import VALUE_CHARS_MAX, Fields, Ignored

# Both spellings of a turn that is not the model's and not the user's; the template has one role for them.
_TOOL_ROLES = {"tool": "tool", "function": "tool", "plugin": "tool"}

# Fields that answers of ours, or of the SDKs, carry and that come back with the history.
REPLAYED = frozenset({"index", "refusal", "audio", "annotations", "function_call", "cache_control"})
READ = frozenset({"role", "content", "name", "partial", "tool_calls", "tool_call_id", "reasoning_content"})
GOES_ON = "continue_final_message"
"""vLLM's and SGLang's way to say that the last message is a prefix."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the list is, which roles it may have, and by what names a message says that it is a prefix (the first is
    the service's own).  `path` has a dot at its end unless empty."""

    path: str
    roles: frozenset[str]
    flags: tuple[str, ...] = ("partial",)


@frozen
class Conversation:
    """The finished turns, and the open one.  `asked` is whether any message had the partial flag; `thought` and
    `documents` as in `core.request.Request`."""

    messages: tuple[Message, ...]
    prefix: str | None
    asked: bool
    documents: tuple[Source, ...] | None = None
    thought: str | None = None


def read(
    value: object,
    dialect: Dialect,
    messages_max: int,
    ignored: Ignored,
    documents: bool = False,
    goes_on: bool | None = None,
    high_resolution: bool = False,
) -> Conversation:
    """Read the list; `documents`: system messages may be some; `goes_on`: what `continue_final_message` says of the
    last one; `high_resolution`: its pictures are to be seen in as many pixels as can be.  Raises Refused."""
    path = dialect.path + "messages"
    entries = _entries(value, dialect, messages_max, ignored)
    flags = [_flag(entry, dialect) for entry in entries]
    partials = [said is not None for said in flags]
    last = len(entries) - 1
    if goes_on is not None:
        partials[last] = _gone_on(entries[last], flags[last], goes_on)
    messages = _messages(entries, dialect, high_resolution)
    _check_tools(messages, [entry.get("role") for entry in entries])
    for index, partial in enumerate(partials):
        if partial and not (index == last and messages[index].role == "assistant"):
            ignored.add(f"{path}.{index}.{flags[index]}")
    prefix: str | None = None
    thought: str | None = None
    if partials[last] and messages[last].role == "assistant":
        if messages[last].tool_calls:
            raise FieldWrong(f"{path}.{last}.partial", "boolean", "choice", "tool_calls")
        turn = messages.pop()
        thought = turn.reasoning or None
        prefix = turn.content if turn.content or thought is None else None
    elif messages[last].role not in ("user", "tool"):
        raise RolesInvalid if documents else LastRoleInvalid
    if not any(message.role == "user" for message in messages):
        raise RolesInvalid if documents else MessagesInvalid("no_user")
    if not documents:
        return Conversation(tuple(messages), prefix, any(partials), None, thought)
    turns, found = sources.divided(messages)
    return Conversation(tuple(turns), prefix, any(partials), found, thought)


def _flag(entry: Fields, dialect: Dialect) -> str | None:
    """The name by which a message says that it is a prefix, None when it does not.  Raises PartialUnclear."""
    said = {name: value for name in dialect.flags if (value := entry.boolean(name)) is not None}
    if len(set(said.values())) > 1:
        raise PartialUnclear(*(entry.path + name for name in said))
    return next((name for name, value in said.items() if value), None)


def _gone_on(entry: Fields, flag: str | None, goes_on: bool) -> bool:
    """Whether the last message is a prefix, by what is said beside the list and in it.  Raises PartialUnclear."""
    if goes_on and entry.get("role") != "assistant":
        raise PartialUnclear(GOES_ON, entry.path + "role")
    for name in ("partial", "prefix"):
        if (said := entry.get(name)) is not None and said is not goes_on and (flag is not None or goes_on):
            raise PartialUnclear(GOES_ON, entry.path + name)
    return goes_on


def contents(value: object, dialect: Dialect, messages_max: int) -> list[str]:
    """Each message's text alone, whoever's turn it is.  Raises Refused."""
    messages = _messages(_entries(value, dialect, messages_max, Ignored()), dialect, False)
    if any(message.media for message in messages):
        raise NotSupported("media")
    return [message.content for message in messages]


def _entries(value: object, dialect: Dialect, messages_max: int, ignored: Ignored) -> list[Fields]:
    path = dialect.path + "messages"
    if not isinstance(value, list):
        raise FieldWrong(path, "list")
    if not value:
        raise MessagesInvalid("empty")
    if len(value) > messages_max:
        raise TooLarge("messages", messages_max)
    return [_entry(entry, f"{path}.{index}.", ignored) for index, entry in enumerate(value)]


def _messages(entries: list[Fields], dialect: Dialect, high_resolution: bool) -> list[Message]:
    return [_message(entry, index, dialect, high_resolution) for index, entry in enumerate(entries)]


def _entry(value: object, path: str, ignored: Ignored) -> Fields:
    if not isinstance(value, dict):
        raise FieldWrong(path[:-1], "message")
    return Fields(value, path, False, ignored)


def _message(entry: Fields, index: int, dialect: Dialect, high_resolution: bool) -> Message:
    role = entry.get("role")
    if role is None:
        raise FieldMissing(entry.path + "role")
    if not isinstance(role, str) or role not in dialect.roles:
        raise MessagesInvalid("role", index, str(role)[:VALUE_CHARS_MAX])
    for name, value in entry.values.items():
        if value is not None and name not in READ and name not in REPLAYED and name not in dialect.flags:
            entry.ignored.add(entry.path + name)
    calls = _calls(entry, index) if role == "assistant" else ()
    content, placed = _content(entry, index, _optional(entry, calls, dialect), high_resolution)
    if placed and role != "user":
        raise NotSupported("media")
    return Message(
        role=cast(Role, _TOOL_ROLES.get(role, role)),
        content=content,
        media=placed,
        name=entry.string("name"),
        tool_calls=calls,
        tool_call_id=entry.string("tool_call_id"),
        reasoning=entry.string("reasoning_content"),
    )


def _optional(entry: Fields, calls: tuple[ToolCall, ...], dialect: Dialect) -> bool:
    """Whether a message may have no content: it calls, or it is a thought to be gone on with."""
    if any(entry.get(name) for name in dialect.flags):
        return bool(entry.get("reasoning_content"))
    return bool(calls)


def _content(entry: Fields, index: int, optional: bool, high_resolution: bool) -> tuple[str, tuple[Placed, ...]]:
    """The text, and what stands in it."""
    value = entry.get("content")
    if isinstance(value, str):
        return value, ()
    if value is None:
        if optional:
            return "", ()
        raise FieldMissing(entry.path + "content")
    if not isinstance(value, list) or not value:
        raise MessagesInvalid("content_type", index)
    texts: list[str] = []
    placed: list[Placed] = []
    at = 0
    for number, part in enumerate(value):
        if not isinstance(part, dict):
            raise MessagesInvalid("content_type", index)
        fields = Fields(part, f"{entry.path}content.{number}.", entry.coerces, entry.ignored)
        seen = media.medium(fields, high_resolution)
        if seen is not None:
            placed.append(Placed(at, seen))
        text = part.get("text")
        if seen is None and not isinstance(text, str):
            raise MessagesInvalid("content_type", index)
        if isinstance(text, str):  # natively a part may have both, and its picture comes first
            texts.append(text)
            at += len(text)
    return "".join(texts), tuple(placed)


def _calls(entry: Fields, index: int) -> tuple[ToolCall, ...]:
    value = entry.get("tool_calls")
    if value is None:
        return ()
    path = entry.path + "tool_calls"
    if not isinstance(value, list):
        raise FieldWrong(path, "list")
    calls = []
    for number, raw in enumerate(value):
        if not isinstance(raw, dict):
            raise FieldWrong(f"{path}.{number}", "object")
        call = Fields(raw, f"{path}.{number}.", False, entry.ignored)
        function = call.inside("function")
        if function is None or function.get("arguments") is None:
            raise MessagesInvalid("call_without_arguments", index)
        calls.append(
            ToolCall(call.string("id") or "", function.string("name") or "", function.string("arguments") or "")
        )
    return tuple(calls)


def _check_tools(messages: list[Message], roles: list[object]) -> None:
    """A `tool` message answers a call made before it.

    The official samples send no ids, so none is required; but when every tool message has one
    and none of them fits, the history is not a history.
    """
    if "tool" not in roles:
        return
    called: set[str] = set()
    any_call = False
    first = -1
    answered: list[str | None] = []
    for index, message in enumerate(messages):
        if message.tool_calls:
            any_call = True
            called.update(call.id for call in message.tool_calls)
        elif roles[index] == "tool":
            if not any_call:
                raise MessagesInvalid("tool_without_call", index)
            first = index if first < 0 else first
            answered.append(message.tool_call_id)
    if answered and all(answered) and not called.intersection(cast(list[str], answered)) and called != {""}:
        raise MessagesInvalid("tool_without_call", first)
