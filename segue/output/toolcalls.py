"""Which of a model's text is a call of a function.

    text, in any pieces -> pieces of text, names of called functions, pieces of their arguments

Models mark their calls (`<tool_call>` around an object with `name` and `arguments`, or around
`<function=...>` in XML), and small ones forget to: then the same object, or several, fenced or bare,
is the whole answer.  Both are read.

Laws: the outcome does not depend on how the text was cut; what may yet be a call is held back, and what
turns out to be none is said as it stands; arguments are given as they come, once it is certain whose they
are; only functions that the caller named are called.  The beginning of a text may be the caller's own: it is
read, not said; of a call that was open at its end the whole arguments are given.

Without marks a call is certain only at the end of the answer, unless the answer is `kept` to a form in which
nothing else begins like one (`prompt/tools.py` makes it).  Pure; knows no event and no token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Literal

from segue.core.callforms import BLANKS, BLANKS_MAX, CLOSE, FENCES_CLOSED, OPEN
from segue.core.request import Tool
from segue.output.callscan import (
    FUNCTION,
    HEAD,
    HEAD_BEGUN,
    NAME_CHARACTERS_MAX,
    NAMED,
    OPENING,
    OPENING_BEGUN,
    PARAMETER,
    Scan,
    whole,
)

Piece = tuple[Literal["text", "call", "arguments", "end"], str]
"""Text to say; a call's function; a piece of its arguments; the call is complete."""


class ToolCalls:
    """One choice's text, read for calls of `tools`.  `prefix` is the caller's own beginning of it."""

    def __init__(self, tools: Sequence[Tool], prefix: str = "", kept: bool = False) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._kept = kept
        self._step: Callable[[bool], bool] = self._start
        self._held = ""  # not said yet, or not yet known to be a call
        self._at = 0  # so much of it was read, on trial
        self._prefixed = 0  # so many of its first characters are the caller's
        self._trial = False  # what is read may turn out to be text
        self._marked = True
        self._pieces: list[Piece] = []
        self._listed = False
        self._scan, self._scanned = Scan(), 0
        self._braces = 1
        self._parameters = 0
        self._function = ""
        if prefix:
            self._begin(prefix)

    @property
    def plain(self) -> bool:
        """Whether text without a `<` would be said at once."""
        return not self._held and self._step == self._text

    def feed(self, text: str) -> list[Piece]:
        """What is certain now."""
        self._held += text
        while self._step(False):
            pass
        return self._taken()

    def end(self) -> list[Piece]:
        """Nothing follows: the rest."""
        while self._step(True):
            pass
        if self._trial and self._step not in (self._unmarked_after, self._done):
            self._failed()
            while self._step(True):
                pass
        self._trial = False
        return self._taken()

    def _begin(self, prefix: str) -> None:
        """Read what the caller wrote.  Its text and its finished calls are known to the caller."""
        self._held = prefix
        while self._step(False):
            pass
        self._prefixed = len(self._held)
        kinds = [kind for kind, _ in self._pieces]
        done = len(kinds) - kinds[::-1].index("end") if "end" in kinds else 0
        self._pieces = [piece for piece in self._pieces[done:] if piece[0] != "text"]

    def _taken(self) -> list[Piece]:
        if self._trial:
            return []
        taken, self._pieces = self._pieces, []
        return taken

    def _say(self, count: int) -> None:
        """The first characters held are text."""
        text = self._held[min(self._prefixed, count) : count]
        self._pass(count)
        if text:
            self._pieces.append(("text", text))

    def _pass(self, to: int) -> None:
        """What is held has been read up to here."""
        if self._trial:
            self._at = to
            return
        self._held = self._held[to:]
        self._prefixed = max(0, self._prefixed - to)
        self._at = 0

    def _next(self) -> int:
        """Where the next character is that is no blank; the end where there is none."""
        at, held = self._at, self._held
        while at < len(held) and held[at] in BLANKS:
            at += 1
        return at

    def _comes(self, mark: str, at: int) -> bool | None:
        """Whether a mark stands here; None: it may yet."""
        if self._held.startswith(mark, at):
            return True
        return None if mark.startswith(self._held[at:]) else False

    def _go(self, step: Callable[[bool], bool]) -> bool:
        self._step = step
        return True

    # --- text ------------------------------------------------------------------------------

    def _start(self, end: bool) -> bool:
        """Nothing but blanks was said."""
        at = self._next()
        if at == len(self._held):
            return self._go(self._text) if end else False
        tagged = self._comes(OPEN, at)
        if tagged:
            self._pass(at)
            return self._mark()
        if tagged is None and not end:
            return False
        if at > BLANKS_MAX:
            return self._go(self._text)
        opening = OPENING.match(self._held, at)
        if opening is not None and (head := HEAD.match(self._held, opening.end())) is not None:
            if head[1] not in self._tools:
                return self._go(self._text)
            self._listed = bool(opening[1])
            self._trial, self._marked = not self._kept, False
            self._pass(opening.end())
            return self._go(self._object)
        named = None if opening is None else NAMED.match(self._held, opening.end())
        if named is not None and named[1] not in self._tools:
            return self._go(self._text)
        if end or OPENING_BEGUN.fullmatch(self._held, at) is None:
            return self._go(self._text)
        return False

    def _text(self, end: bool) -> bool:
        at = self._held.find(OPEN)
        if at >= 0:
            self._say(at)
            return self._mark()
        keep = 0
        if not end:
            keep = next((size for size in range(len(OPEN) - 1, 0, -1) if self._held.endswith(OPEN[:size])), 0)
        if len(self._held) > keep:
            self._say(len(self._held) - keep)
        return False

    # --- calls with a mark -----------------------------------------------------------------

    def _mark(self) -> bool:
        self._marked, self._scan, self._scanned = True, Scan(), 0
        return self._go(self._tagged)

    def _tagged(self, end: bool) -> bool:
        """`held` begins with the mark; it goes when the call is known to be one."""
        held = self._held
        self._at = len(OPEN)
        at, self._at = self._next(), 0
        if at == len(held):
            return self._no_call() if end else False
        if held[at] == "{":
            return self._tagged_object(at, end)
        function = FUNCTION.match(held, at)
        if function is not None and function[1] in self._tools:
            self._pieces.append(("call", function[1]))
            self._function, self._parameters = function[1], 0
            self._pass(function.end())
            return self._go(self._xml)
        begun = "<function=".startswith(held[at : at + 10]) and len(held) - at < 2 * NAME_CHARACTERS_MAX
        return False if begun and function is None and not end else self._no_call()

    def _tagged_object(self, at: int, end: bool) -> bool:
        held = self._held
        head = HEAD.match(held, at)
        if head is not None and head[1] in self._tools:
            return self._called(head)
        if (named := NAMED.match(held, at)) is not None and named[1] not in self._tools:
            return self._no_call()
        # Perhaps other keys, or in another order: read when it is whole.
        self._scanned, ended = self._scan.over(held, max(at, self._scanned))
        if not ended:
            return self._no_call() if end else False
        to = self._scanned
        call = whole(held[at:to])
        if call is None or call[0] not in self._tools:
            return self._no_call()
        self._pieces += [("call", call[0]), ("arguments", call[1])]
        self._pass(to)
        return self._over()

    def _no_call(self) -> bool:
        """The mark was text."""
        self._say(len(OPEN))
        return self._go(self._text)

    def _called(self, head: re.Match[str]) -> bool:
        self._pieces.append(("call", head[1]))
        self._scan = Scan()
        self._braces = 2 if head[0].lstrip(BLANKS).startswith("{{") else 1
        self._pass(head.end())
        return self._go(self._arguments)

    def _arguments(self, end: bool) -> bool:
        begun = self._at
        to, ended = self._scan.over(self._held, begun)
        if to > begun:
            self._pieces.append(("arguments", self._held[begun:to]))
            self._pass(to)
        return self._go(self._rest) if ended else False

    def _rest(self, end: bool) -> bool:
        """Behind the arguments: the object closes, perhaps after keys that say nothing."""
        at = self._next()
        if at == len(self._held):
            return False
        if self._held[at] not in ",}":
            return self._over()
        self._scan = Scan(self._braces)
        self._pass(at)
        return self._go(self._closing)

    def _closing(self, end: bool) -> bool:
        to, ended = self._scan.over(self._held, self._at)
        self._pass(to)
        return self._over() if ended else False

    def _over(self) -> bool:
        """The call has all it needs."""
        if self._marked:
            return self._go(self._after)
        self._pieces.append(("end", ""))
        return self._go(self._unmarked_after)

    def _after(self, end: bool) -> bool:
        """The mark closes."""
        at = self._next()
        closed = self._comes(CLOSE, at) if at < len(self._held) else None
        if closed is None:
            return False
        if closed:
            self._pass(at + len(CLOSE))
        self._pieces.append(("end", ""))
        return self._go(self._between)

    def _between(self, end: bool) -> bool:
        """Behind a call blanks say nothing, unless text comes."""
        at = self._next()
        tagged = self._comes(OPEN, at) if at < len(self._held) else None
        if tagged is None and (not end or at == len(self._held)):
            return False
        if tagged:
            self._pass(at)
            return self._mark()
        return self._go(self._text)

    # --- calls in XML ----------------------------------------------------------------------

    def _xml(self, end: bool) -> bool:
        at = self._next()
        if at == len(self._held):
            return False
        found = PARAMETER.match(self._held, at)
        if found is not None:
            begin = ", " if self._parameters else "{"
            self._parameters += 1
            key, value = json.dumps(found[1], ensure_ascii=False), self._value(found[1], found[2])
            self._pieces.append(("arguments", f"{begin}{key}: {value}"))
            self._pass(found.end())
            return True
        if self._comes("<parameter=", at) is not False:
            return False  # its end is to come
        closed = self._comes("</function>", at)
        if closed is None and not end:
            return False
        self._pieces.append(("arguments", "}" if self._parameters else "{}"))
        self._pass(at + len("</function>") if closed else at)
        return self._over()

    def _value(self, key: str, text: str) -> str:
        """A parameter as JSON: its schema says whether it is a string."""
        text = text.removeprefix("\n").removesuffix("\n")
        known = self._tools[self._function].parameters.get("properties")
        schema = known.get(key) if isinstance(known, dict) else None
        if isinstance(schema, dict) and schema.get("type", "string") != "string":
            try:
                return json.dumps(json.loads(text), ensure_ascii=False)
            except (ValueError, RecursionError):
                pass
        return json.dumps(text, ensure_ascii=False)

    # --- calls without a mark --------------------------------------------------------------

    def _object(self, end: bool) -> bool:
        head = HEAD.match(self._held, self._at)
        if head is not None:
            return self._called(head) if head[1] in self._tools else self._failed()
        return False if not end and HEAD_BEGUN.fullmatch(self._held, self._at) else self._failed()

    def _unmarked_after(self, end: bool) -> bool:
        """An object is over: the next one, or what closes them all."""
        at = self._next()
        if at == len(self._held):
            return False
        if self._listed and self._held[at] == "]":
            self._listed = False
            self._pass(at + 1)
            return True
        if self._held[at] == "," and self._listed:
            self._pass(at + 1)
            return self._go(self._object)
        if self._held[at] == "{":
            return self._go(self._object)
        for mark in FENCES_CLOSED:
            closed = self._comes(mark, at)
            if closed:
                self._pass(at + len(mark))
                return self._go(self._done)
            if closed is None:
                return False
        return self._failed()

    def _done(self, end: bool) -> bool:
        """The fence is closed: nothing may follow."""
        return False if self._next() == len(self._held) else self._failed()

    def _failed(self) -> bool:
        """It was text after all, if it was on trial."""
        if self._trial:
            self._trial, self._at = False, 0
            self._pieces.clear()
        return self._go(self._text)
