"""How the model is shown documents: a conversation with them, as a conversation without.

Two ways.  Whole documents stand behind the role, in the one system message at the beginning (before the first
question where a template prints no system message), and stay the same, byte for byte, from question to question:
what the engine has read of them once it need not read again, and a document that is added later adds to the end.
Passages were picked for one question and stand in front of it, in the last turn of the user's.

Laws: the words around them are few, and in the documents' language (whole) or the question's (passages); nothing of
a document or a question is changed, but for blanks around a passage; pure: what is shown was read by somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from segue.core import frozen
from segue.core.generation import Tier
from segue.core.request import Message, Request, Sampling

ROLE = "You are a helpful assistant."
"""Who the model is, where nobody says so and there are documents; the service's own default."""
HAN_SHARE = 0.1  # of a text, from which on it counts as Chinese
LOOKED_AT_CHARS = 2000


@frozen
class Sheet:
    """Text to be shown: of the document called `name` ("" for one without), its part `label` ("" for all of it).
    `key` is the sentence in it that names what is asked for, "" where there is none."""

    name: str
    label: str
    text: str
    key: str = ""


@frozen
class _Words:
    about: str
    document: str
    named: str
    shown: Mapping[Tier, str]
    answer: Mapping[Tier, str]
    key: str
    comma: str
    note: str


_ENGLISH = _Words(
    about="The conversation is about the documents below.",
    document="Document",
    named=": ",
    shown={
        "retrieval": "Here are passages from the documents:",
        "digest": "Here are extracts of the documents: headings, beginning, end and main sentences.",
        "notes": "Here are notes on all parts of the documents, in order:",
    },
    answer={
        "retrieval": "Answer from these passages. If the answer is not in them, say so.",
        "digest": "Answer from these extracts.",
        "notes": "Answer from these notes.",
    },
    key="The sentences that fit the question best:",
    comma=", ",
    note="Note briefly what this text says to the following question. Write nothing else.",
)
_CHINESE = _Words(
    about="以下是本次对话所依据的文档。",
    document="文档",
    named="：",
    shown={
        "retrieval": "以下是文档中的相关片段：",
        "digest": "以下是文档的摘录，包括标题、开头、结尾和主要句子：",
        "notes": "以下是按顺序对文档各部分所做的笔记：",
    },
    answer={
        "retrieval": "请根据以上片段回答。片段中没有答案的，请直接说明。",
        "digest": "请根据以上摘录回答。",
        "notes": "请根据以上笔记回答。",
    },
    key="与问题最相关的句子：",
    comma="，",
    note="请简要记下以上内容中与下面问题有关的要点，不要写其他内容。",
)


def whole(request: Request, sheets: Sequence[Sheet], in_turn: bool = False) -> Request:
    """The conversation with whole documents, in the given order, behind its role; or `in_turn`, before its first
    question."""
    words = _words(sheets[0].text if sheets else "")
    shown = [words.about]
    for number, sheet in enumerate(sheets, 1):
        title = f"{words.document} {number}" + (words.named + sheet.name if sheet.name else "")
        shown.append(f"## {title}\n\n{sheet.text}")
    if in_turn:
        first = next(place for place, message in enumerate(request.messages) if message.role == "user")
        return _put(request, first, shown)
    role = next((message.content for message in request.messages if message.role == "system"), ROLE)
    begun = Message("system", "\n\n".join([role, *shown]))
    return replace(request, messages=(begun, *(each for each in request.messages if each.role != "system")))


def quoted(request: Request, sheets: Sequence[Sheet], tier: Tier = "retrieval") -> Request:
    """The conversation with numbered passages before its last question, found as `tier` says, and once more their
    sentences that name what is asked for; as it is when there are none.

    A small model takes an answer from a sentence about somebody else when the right one stands in a long passage.
    Right in front of the question they help most.
    """
    if not sheets:
        return request
    words = _words(question(request))
    shown = [words.shown[tier]]
    for number, sheet in enumerate(sheets, 1):
        source = words.comma.join(part for part in (sheet.name, sheet.label) if part)
        shown.append(f"[{number}] {source}".rstrip() + f"\n{sheet.text.strip()}")
    shown.append(words.answer[tier])
    if keys := [f"- {' '.join(sheet.key.split())}" for sheet in sheets if sheet.key]:
        shown.append("\n".join([words.key, *keys]))
    return _put(request, _asked_at(request), shown)


def asked_for_notes(request: Request, sheet: Sheet) -> Request:
    """A conversation of its own about one piece of a document and the last question; answered without chance."""
    asked = question(request)
    words = _words(asked)
    shown = [f"[{sheet.name}]"] if sheet.name else []
    turn = Message("user", "\n\n".join([*shown, sheet.text.strip(), words.note, asked]))
    return Request(request.id, request.caller, request.model, (turn,), sampling=Sampling(temperature=0.0))


def _put(request: Request, place: int, shown: Sequence[str]) -> Request:
    """The conversation with this before the message at `place`."""
    turn = request.messages[place]
    before = "".join(f"{each}\n\n" for each in shown)
    media = tuple(replace(placed, at=placed.at + len(before)) for placed in turn.media)
    turn = replace(turn, content=before + turn.content, media=media)
    return replace(request, messages=(*request.messages[:place], turn, *request.messages[place + 1 :]))


def question(request: Request) -> str:
    """What the user asks last."""
    return request.messages[_asked_at(request)].content


def asked_before(request: Request) -> tuple[str, ...]:
    """What the user asked before that, in order."""
    return tuple(each.content for each in request.messages[: _asked_at(request)] if each.role == "user")


def _asked_at(request: Request) -> int:
    return max(place for place, message in enumerate(request.messages) if message.role == "user")


def _words(text: str) -> _Words:
    """Those of the language that the text is in."""
    looked_at = text[:LOOKED_AT_CHARS]
    han = sum("\u3400" <= character <= "\u9fff" for character in looked_at)
    return _CHINESE if han and han >= HAN_SHARE * len(looked_at) else _ENGLISH
