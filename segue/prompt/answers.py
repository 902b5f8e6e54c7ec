"""What this server has said, so that an answer can be gone on with as if it had never stopped.

A caller who sends back an answer, or its beginning, as a prefix gets the continuation of the very
tokens that were drawn: no search for the seam, the same place in the noise, the same key-value
cells.  Kept are token ids and bytes, by workspace, model and rendered conversation, in memory only
(where several servers share them, `shared.py` leaves them in the store too); the least recently used go first.

Laws: nothing is found from another workspace; what is found spells the prefix's bytes, and perhaps a
few more (`pending`), which the answer then begins with: the rest of a character that was cut, or
the rest of a token where the caller asks with the very same decoding.  Pure: no clock, no engine.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from codecs import utf_8_decode
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from segue.core import frozen
from segue.core.generation import Chunk, Constraint, Decoding, Joined, Prompt

VERSIONS_MAX = 8
"""Different answers kept to one conversation."""
RECORD_BYTES = 400
"""What a record costs beside its ids and bytes, about."""


@frozen
class Recorded:
    """One answer as it was drawn.

    `ids` and `data` begin with the answer, an earlier prefix of `prefix_bytes` included; `ids[said_at:]` were
    said, and `ends[i]` is how many bytes of `data` the first i + 1 of these and all before them spell.
    Ids before `drawn_at` were read in one go, the others one by one.
    """

    ids: array[int]
    data: bytes
    prefix_bytes: int
    drawn_at: int
    said_at: int
    ends: array[int]
    decoding: Decoding
    choice: int

    @property
    def cost(self) -> int:
        """Bytes of memory, about."""
        return len(self.data) + self.ids.itemsize * len(self.ids) + self.ends.itemsize * len(self.ends) + RECORD_BYTES


@frozen
class Resumed:
    """The tokens that stand for a prefix, from its beginning.  `pending` are bytes of the last one behind the
    prefix; the rest is as in the answer that is resumed."""

    ids: array[int]
    pending: bytes
    prefix_bytes: int
    drawn_at: int
    said_at: int
    ends: array[int]
    choice: int


class Answers:
    """At most `answers_max` records of at most `bytes_max` bytes together; 0 of either keeps nothing."""

    def __init__(self, answers_max: int, bytes_max: int) -> None:
        self._answers_max, self._bytes_max = answers_max, bytes_max
        self._kept: OrderedDict[bytes, list[Recorded]] = OrderedDict()
        self._count = self._bytes = 0

    @property
    def on(self) -> bool:
        """Is anything ever kept?"""
        return self._answers_max > 0 and self._bytes_max > 0

    @property
    def held(self) -> tuple[int, int]:
        """Records kept, and their bytes."""
        return self._count, self._bytes

    def keep(self, place: bytes, answer: Recorded) -> None:
        """Remember an answer to a conversation; it takes the place of its own beginnings."""
        if not self.on or not answer.ends or answer.cost > self._bytes_max:
            return
        kept = self._kept.pop(place, [])
        for old in kept:
            self._count, self._bytes = self._count - 1, self._bytes - old.cost
        kept = [old for old in kept if not _begins(old, answer)][: VERSIONS_MAX - 1]
        kept.insert(0, answer)
        for each in kept:
            self._count, self._bytes = self._count + 1, self._bytes + each.cost
        self._kept[place] = kept
        while self._count > self._answers_max or self._bytes > self._bytes_max:
            self._drop()

    def say(self, workspace: str, place: bytes, answer: Recorded) -> None:
        """Let other servers know of an answer.  Here there are none."""

    async def learn(self, workspace: str, places: Sequence[bytes]) -> bool:
        """Take in what other servers have said in these conversations; whether there was any."""
        return False

    def find(self, place: bytes, prefix: bytes, decoding: Decoding) -> Resumed | None:
        """The tokens of a prefix that this server has said in this conversation."""
        kept = self._kept.get(place)
        if kept is None:
            return None
        self._kept.move_to_end(place)
        best: tuple[tuple[bool, bool, bool, int], Resumed] | None = None
        for answer in kept:
            if (resumed := _resumed(answer, prefix, decoding)) is not None:
                whole = not _characters(answer.data[len(prefix) :])  # it said no more than the caller sends back
                # The lowest choice of several, so that asking again finds the same one and not its sisters.
                worth = (answer.decoding == decoding, whole, not resumed.pending, -answer.choice)
                if best is None or worth > best[0]:
                    best = worth, resumed
        return None if best is None else best[1]

    def _drop(self) -> None:
        """Forget the oldest answer to the conversation that was longest not asked for."""
        place = next(iter(self._kept))
        old = self._kept[place].pop()
        self._count, self._bytes = self._count - 1, self._bytes - old.cost
        if not self._kept[place]:
            del self._kept[place]


def place(workspace: str, model: str, header: Sequence[int], constraint: Constraint | None = None) -> bytes:
    """Where answers to a rendered conversation are kept: those of one form do not resume those of another."""
    digest = hashlib.blake2b(digest_size=16)
    for name in (workspace, model, "" if constraint is None else constraint.grammar):
        data = name.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "little") + data)
    digest.update(array("i", header).tobytes())
    return digest.digest()


def _resumed(answer: Recorded, prefix: bytes, decoding: Decoding) -> Resumed | None:
    if not answer.prefix_bytes < len(prefix) <= len(answer.data) or not answer.data.startswith(prefix):
        return None
    # Several tokens end at one place where they came together, or where some have no bytes: all count.
    count = bisect_right(answer.ends, answer.ends[bisect_left(answer.ends, len(prefix))])
    if not _characters(answer.data[len(prefix) :]):
        count = len(answer.ends)  # the answer was cut inside a character: its tokens so far stand
    pending = answer.data[len(prefix) : answer.ends[count - 1]]
    if pending and answer.decoding != decoding and _characters(pending):
        return None
    return Resumed(
        answer.ids[: answer.said_at + count],
        pending,
        answer.prefix_bytes,
        answer.drawn_at,
        answer.said_at,
        answer.ends[:count],
        answer.choice,
    )


def _characters(data: bytes) -> str:
    """The complete characters of `data`."""
    return utf_8_decode(data, "ignore", False)[0]


def _begins(old: Recorded, new: Recorded) -> bool:
    """Is `old` nothing but a beginning of `new`?  One that was cut inside a character is more: it says how many
    tokens of it stand for what the caller has."""
    if utf_8_decode(old.data, "ignore", False)[1] < len(old.data):
        return False
    same = old.choice == new.choice and old.decoding == new.decoding and old.drawn_at == new.drawn_at
    return same and new.ids[: len(old.ids)] == old.ids


_ASIDE_MAX = 64
"""Chunks of an answer that are put aside before they are written down."""


class Recorder:
    """Takes down one answer while it comes, and hands its choices to `Answers` when it is over.

    While it comes its chunks are only put aside (`saw`), a piece of a stream may cost some microseconds in all; now and
    then they are written down, which takes a tenth of their room.
    """

    __slots__ = ("_answers", "_chunks", "_drafts", "_prefix", "_prompt", "_resumed")

    def __init__(self, answers: Answers, prompt: Prompt, prefix: bytes, resumed: Resumed | None) -> None:
        self._answers, self._prompt, self._resumed = answers, prompt, resumed
        self._prefix = prefix
        self._chunks: list[Chunk] = []
        self._drafts: dict[int, _Draft] = {}

    def saw(self, chunk: Chunk) -> None:
        """The answer goes on."""
        self._chunks.append(chunk)
        if len(self._chunks) >= _ASIDE_MAX:
            self._write()

    def turned(self, prompt: Prompt) -> None:
        """The answer, which has no prefix, is given to another prompt."""
        self._prompt = replace(self._prompt, ids=prompt.ids, answer_at=prompt.answer_at)

    def keep(self) -> None:
        """The answer is over, or broken off: what was said counts either way."""
        self._write()
        if not self._drafts:
            return
        prompt = self._prompt
        where = place(prompt.workspace, prompt.model, prompt.ids[: prompt.answer_at], prompt.constraint)
        for choice, draft in self._drafts.items():
            if draft.known:
                recorded = draft.recorded(prompt.decoding, prompt.first_choice + choice)
                self._answers.keep(where, recorded)
                if not prompt.documents:
                    self._answers.say(prompt.workspace, where, recorded)

    def _write(self) -> None:
        """Write down what was put aside."""
        if self._answers.on:
            for chunk in self._chunks:
                draft = self._drafts.get(chunk.choice)
                if draft is None:
                    draft = self._drafts[chunk.choice] = self._draft(chunk.joined)
                draft.say(chunk.ids, chunk.data)
        self._chunks.clear()

    def _draft(self, joined: Joined | None) -> _Draft:
        prompt, resumed, data = self._prompt, self._resumed, bytearray(self._prefix)
        ids = array("i", prompt.ids[prompt.answer_at :])
        if resumed is not None:
            ends = array("q", resumed.ends)
            draft = _Draft(ids, data, resumed.prefix_bytes, resumed.drawn_at, resumed.said_at, ends)
            draft.say((), resumed.pending)
            draft.known = True
            return draft
        drawn_at = len(ids)
        if joined is not None:
            given, kept = ids[len(ids) - joined.back :], len(ids) - joined.back
            path = array("i", joined.path)
            common = 0
            while common < min(len(given), len(path)) and given[common] == path[common]:
                common += 1
            ids, drawn_at = ids[:kept] + path, kept + common
        return _Draft(ids, data, len(data), drawn_at, len(ids), array("q"))


@dataclass(slots=True)
class _Draft:
    """A `Recorded` that grows.  `data` is what the caller is sent: bytes that are no text are left out of it, and
    those of a character that is not complete wait in `rest`."""

    ids: array[int]
    data: bytearray
    prefix_bytes: int
    drawn_at: int
    said_at: int
    ends: array[int]
    known: bool = True
    rest: bytes = b""

    def say(self, ids: Sequence[int], data: bytes) -> None:
        """These tokens, and what they say."""
        self.ids.extend(ids)
        text, used = utf_8_decode(self.rest + data, "ignore", False)
        self.rest = (self.rest + data)[used:]
        self.data += text.encode()
        if ids:  # of several tokens only the last one's end is known
            self.ends.extend([len(self.data) + len(self.rest)] * len(ids))
        elif data:
            self.known = False  # text of which nobody knows the tokens

    def recorded(self, decoding: Decoding, choice: int) -> Recorded:
        """As it is now."""
        ends, least = self.ends[:], len(self.data) + len(self.rest)
        for at in range(len(ends) - 1, -1, -1):  # what waited, and was no text after all, has no length
            least = ends[at] = min(least, ends[at])
        said = self.drawn_at, self.said_at
        return Recorded(self.ids, bytes(self.data) + self.rest, self.prefix_bytes, *said, ends, decoding, choice)
