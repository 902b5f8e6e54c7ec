"""Does a chat template open the assistant's turn, and with what text?  Asked once, when a model starts.

A template is the operator's choice and may be any program, so it is tried out: conversations of
made-up words are rendered, with the assistant's turn opened and without, and what stands around the
words is compared.  A template that never gets as far, prints nothing of what a user says, or leaves
the turn closed cannot be continued; the operator reads so at start instead of callers at every request.

Laws: nothing is refused for a rule that a template makes for conversations (no system turn, turns
that alternate): one conversation that can be answered is enough.  Nothing is asked of past answers:
a template may shorten or drop them.  Pure; knows no Jinja and no token: rendering is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segue.core.errors import MessagesInvalid
from segue.core.request import Message
from segue.prompt.caller import Spellings, common

Rendered = Callable[[Sequence[Message], bool], str]
"""A conversation, with the assistant's turn opened or not, as text; raises MessagesInvalid."""

# Words that no template looks for, none within another.
_SYSTEM, _FIRST, _ANSWER, _NEXT = "Quorvane", "Zembluth", "Wixolary", "Tandregob"

_CONVERSATIONS = (
    (Message("user", _FIRST),),
    (Message("system", _SYSTEM), Message("user", _FIRST)),
    (Message("user", _NEXT), Message("assistant", _ANSWER), Message("user", _FIRST)),
)


@dataclass(frozen=True, slots=True)
class Opening:
    """The text around an answer.

    `header` is what a template adds behind a conversation to open the assistant's turn; "" where
    it always opens it, or where the end of the user's turn does.  `trailing` is what it puts behind
    a past answer, whoever speaks next.
    """

    header: str
    trailing: str


def find(rendered: Rendered, known: Spellings) -> Opening:
    """Try a template out.  Raises ValueError, with the end of a sentence that begins with the template."""
    conversation, text = _first(rendered)
    if _FIRST not in text:
        raise ValueError("prints nothing of what the user says")
    answered = (*conversation, Message("assistant", _ANSWER))
    past = _tried(rendered, (*answered, Message("user", _NEXT)))
    trailing = _shared(_behind(past, _ANSWER), _behind(_tried(rendered, answered), _ANSWER), known)
    closed = _tried(rendered, conversation)
    if not (closed and text.startswith(closed) and len(text) > len(closed)) and not _open(
        rendered, conversation, text, past, known
    ):
        raise ValueError("opens no turn for the assistant: add_generation_prompt does not change what it prints")
    return Opening(text[len(_shared(text, closed, known)) :] if closed else "", trailing)


def _open(rendered: Rendered, conversation: Sequence[Message], text: str, past: str, known: Spellings) -> bool:
    """Whether a template that adds nothing, or ends otherwise, leaves the assistant's turn open all the same.

    So it does when what stands behind the user's words is all that stands before a past answer, or
    leads further into an assistant's turn than into another one of the user's.
    """
    tail = _behind(text, _FIRST)
    answer = _behind(past.rpartition(_ANSWER)[0], _FIRST)
    user = _behind(_tried(rendered, (*conversation, Message("user", _NEXT))).rpartition(_NEXT)[0], _FIRST)
    if answer and tail.strip().startswith(answer.strip()):
        return True
    return bool(user) and len(_shared(tail, answer, known)) > len(_shared(tail, user, known))


def _first(rendered: Rendered) -> tuple[Sequence[Message], str]:
    """The first conversation that can be answered, and its text."""
    reasons: list[str] = []
    for conversation in _CONVERSATIONS:
        try:
            return conversation, rendered(conversation, True)
        except MessagesInvalid as refusal:
            reasons.append(str(refusal.value))
    raise ValueError(f"refuses every conversation that was tried: {reasons[0]}")


def _tried(rendered: Rendered, conversation: Sequence[Message]) -> str:
    """The conversation as it stands; "" when the template refuses it."""
    try:
        return rendered(conversation, False)
    except MessagesInvalid:
        return ""


def _behind(text: str, word: str) -> str:
    """What stands behind the last `word`; "" where there is none."""
    return text.rpartition(word)[2] if word in text else ""


def _shared(one: str, other: str, known: Spellings) -> str:
    """The common beginning, no control token cut in two."""
    size = common(one, other)
    for text in (one, other):
        for found in known.pattern.finditer(text) if known.pattern is not None else ():
            if found.start() < size < found.end():
                size = found.start()
    return one[:size]
