"""Where an answer must end: strings over its text, token-id runs over its ids.

Laws: a stop may begin in the caller's prefix, but one that lies wholly inside it never counts; generation
ends where a stop is first complete, so a shorter stop inside a longer one wins when it is complete earlier, and
of those complete at the same place the longest counts; the answer ends before the stop's beginning.
None of this depends on how the text came in pieces.

`Stops` is the prepared request, without state; it refuses to know choices, bytes and logprobs.
"""

from __future__ import annotations

from collections.abc import Sequence

from segue.core.request import Stop


class Stops:
    """Prepared searches.  Empty strings and empty runs stop nothing."""

    def __init__(self, stop: Stop) -> None:
        self._strings = tuple(dict.fromkeys(s for s in stop.strings if s))
        self._runs = tuple(dict.fromkeys(run for run in stop.sequences if run))
        self._last_of_heads = frozenset(character for s in self._strings for character in s[:-1])
        self._run_ids = frozenset(token for run in self._runs for token in run)

    def __bool__(self) -> bool:
        return bool(self._strings or self._runs)

    def clear(self, text: str, token: int) -> bool:
        """Whether `text`, which is not empty and came with `token`, neither holds, ends nor begins a stop."""
        if token in self._run_ids or text[-1] in self._last_of_heads:
            return False
        return self.cut(text) is None

    def cut(self, text: str, behind: int = 0) -> int | None:
        """The index at which an answer with this text ends, or None when no stop string is complete in it
        that ends behind its first `behind` characters."""
        first: tuple[int, int] | None = None
        for string in self._strings:
            start = text.find(string, max(0, behind - len(string) + 1))
            if start >= 0:
                place = (start + len(string), start)
                first = place if first is None else min(first, place)
        return None if first is None else first[1]

    def begun_text(self, text: str) -> str:
        """The longest end of `text`, whatever is complete in it, that is a proper beginning of a stop string."""
        longest = max(map(len, self._strings), default=0) - 1
        for size in range(min(longest, len(text)), 0, -1):
            tail = text[len(text) - size :]
            if any(len(string) > size and string.startswith(tail) for string in self._strings):
                return tail
        return ""

    def pending(self, text: str) -> int:
        """How many characters at the end of `text`, where none is complete, may be the beginning of a stop."""
        if not text or text[-1] not in self._last_of_heads:
            return 0
        most = 0
        for string in self._strings:
            start = max(0, len(text) - len(string) + 1)
            while (start := text.find(string[0], start)) >= 0:
                if string.startswith(text[start:]):
                    most = max(most, len(text) - start)
                    break
                start += 1
        return most

    def begun_run(self, ids: Sequence[int]) -> list[int]:
        """The longest end of `ids`, whatever is complete in it, that is a proper beginning of a stop run."""
        longest = max(map(len, self._runs), default=0) - 1
        for size in range(min(longest, len(ids)), 0, -1):
            tail = tuple(ids[len(ids) - size :])
            if any(len(run) > size and run[:size] == tail for run in self._runs):
                return list(tail)
        return []

    def complete(self, ids: Sequence[int]) -> int:
        """The length of the longest stop run that ends `ids`; 0 when none does."""
        return max((len(run) for run in self._runs if tuple(ids[-len(run) :]) == run), default=0)

    def begun(self, ids: Sequence[int]) -> int:
        """How many of the last `ids`, where no run is complete, may be the beginning of one."""
        if not ids or ids[-1] not in self._run_ids:
            return 0
        longest = max(map(len, self._runs)) - 1
        for size in range(min(longest, len(ids)), 0, -1):
            tail = tuple(ids[-size:])
            if any(run[:size] == tail for run in self._runs):
                return size
        return 0
