"""Which system messages are documents: names of uploaded files, or texts.

Why: the service knows a document by its place (a system message behind the first one) and a file's name by its
spelling (`fileid://...`, also in the first one).  Laws: the first system message says who the model is, unless it names
files; a message that begins with a file's name and goes on with other words is both, for the rules to refuse; text is
never changed; a document that is named again is the same document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from segue.core.request import Message, Source

FILE = "fileid://"
_BETWEEN = re.compile(r"[\s,;，；、]+")


def divided(messages: Iterable[Message]) -> tuple[list[Message], tuple[Source, ...]]:
    """The turns, the first system message among them, and the documents in the order of their first mention."""
    turns: list[Message] = []
    sources: dict[Source, None] = {}
    first = True
    for message in messages:
        if message.role != "system":
            turns.append(message)
            continue
        named = _named(message.content)
        if named:
            sources.update(dict.fromkeys(named))
        elif first:
            turns.append(message)
        elif message.content.strip():
            sources[Source(text=message.content)] = None
        first = False
    return turns, tuple(sources)


def _named(content: str) -> list[Source]:
    """What a message that begins with a file's name consists of; nothing for any other message."""
    content = content.strip()
    if not content.startswith(FILE):
        return []
    words = [word for word in _BETWEEN.split(content) if word]
    return [Source(id=word[len(FILE) :]) if word.startswith(FILE) else Source(text=word) for word in words]
