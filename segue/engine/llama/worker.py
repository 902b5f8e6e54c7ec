"""The engine process: a thread for each server reads what that one says, the main thread steps.

Tokenising is answered by the reading thread at once, in the middle of a step if need be: the C
calls release the interpreter's lock.  A long text (about a second a megabyte) is left to a thread of
its own, lest short ones wait for it.  When the last server's end closes, the process ends (`parents.py`).
"""

from __future__ import annotations

import collections
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import assert_never

from segue.engine.llama import frames
from segue.engine.llama.context import Context, Model
from segue.engine.llama.eyes import Eyes
from segue.engine.llama.gallery import Gallery
from segue.engine.llama.guide import GuideError, Guides
from segue.engine.llama.lane import Lane
from segue.engine.llama.library import PINNED, LibraryError, open_library
from segue.engine.llama.memory import Memory
from segue.engine.llama.pace import Pace
from segue.engine.llama.parents import Parents, of
from segue.engine.llama.places import NONE, Places
from segue.engine.llama.showing import placed
from segue.engine.llama.snapshots import Snapshots
from segue.engine.llama.spec import LlamaSpec, spec_from
from segue.engine.llama.strand import Strand, strands_of
from segue.engine.seam.lexicon import Lexicon

_LONG_CHARACTERS = 100_000
_GONE_MAX = 1024
_FORGETTING_S = 60.0
"""How long a question may have been on its way that was asked while its document was still there."""
_BEAT_S = 5.0
"""How often it says that it lives, while all that is to be done is to encode pictures."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """The pictures of these strands are encoded, or it is said what is wrong."""

    strands: list[Strand]
    lane: Lane
    wrong: str


@dataclass(frozen=True, slots=True)
class _Compiled:
    """This answer's grammar is there."""

    message: frames.Open
    places: Places


@dataclass(frozen=True, slots=True)
class _Left:
    """A server has left, with all that it has asked for."""

    parent: int


_Message = frames.See | frames.Open | frames.Cancel | frames.Forget | _Seen | _Compiled | _Left


class Worker:
    """Owns the model and its lanes.  `shared` batches everybody; `alone` is built when first needed."""

    def __init__(self, spec: LlamaSpec, parents: Parents) -> None:
        self._spec, self._parents = spec, parents
        self._inbox: collections.deque[_Message] = collections.deque()
        self._awake = threading.Condition()
        self._strands: dict[int, Strand] = {}
        self._long = ThreadPoolExecutor(1, "long texts")
        ffi, lib = open_library()
        self._model = Model(ffi, lib, spec.path)
        vocabulary = self._model.vocabulary
        self._lexicon = Lexicon(
            vocabulary.pieces(list(range(vocabulary.size))),
            {*vocabulary.control.values(), *vocabulary.eog, *vocabulary.hidden.tolist()},
        )
        self._guides = Guides(vocabulary)
        self._eyes = self._gallery = None
        if spec.projector is not None:
            self._eyes = Eyes(self._model, spec.projector, spec.threads or _processors(), spec.picture_tokens_max)
            self._gallery = Gallery(self._eyes, spec.encoded_bytes_max)
        self._pictures: dict[int, dict[bytes, bytes]] = {}
        """Those of each server's next answer."""
        self._looking = 0
        """Strands that wait for their pictures."""
        self._gone: dict[int, None] = {}
        self._forgotten: dict[str, float] = {}
        """Documents, and until when nothing of them is remembered."""
        self._snapshots = self._folder()
        self._shared = self._lane(spec.kv_tokens, spec.slots, spec.remembered, solitary=False)
        self._alone: Lane | None = None

    def run(self) -> None:
        """Serve until the server's end closes."""
        vocabulary = self._model.vocabulary
        self._parents.open(
            frames.Ready(
                template=self._model.template(),
                vocabulary_size=vocabulary.size,
                context_train=self._model.context_train,
                bos=vocabulary.spelling(vocabulary.bos),
                eos=vocabulary.spelling(vocabulary.eos),
                longest=vocabulary.longest,
                control=list(vocabulary.control),
                patch=self._eyes.patch if self._eyes is not None else 0,
                clock=self._eyes.clock if self._eyes is not None else "counted",
                process=os.getpid(),
            ),
            self._hear,
            lambda parent: self._post(_Left(parent)),
        )
        while True:
            self._take()
            for lane in (self._shared, self._alone):
                if lane is not None and lane.busy:
                    self._tell(lane)

    def _lane(self, cells: int, slots: int, remembered: int, solitary: bool) -> Lane:
        spec = self._spec
        rows = max(spec.prompt_piece_tokens, slots + 16)  # a step where all draw still reads on
        threads = spec.threads or _processors()
        context = Context(self._model, cells, slots + remembered, threads, rows)
        memory = Memory(context, slots + remembered, self._model.divisible)
        pace = Pace(spec.step_target_ms / 1000, context.rows_max)
        kept = None if solitary else self._snapshots
        words = self._model.vocabulary
        return Lane(context, memory, words, self._lexicon, slots, pace, self._failed, solitary, kept, self._blind)

    def _folder(self) -> Snapshots | None:
        spec = self._spec
        if spec.snapshots is None or not spec.snapshots_bytes_max or not self._model.divisible:
            return None
        file = spec.path.stat()
        owner = f"{PINNED} {spec.path.name} {file.st_size} {file.st_mtime_ns}"
        return Snapshots(spec.snapshots, owner, spec.snapshots_bytes_max)

    def _take(self) -> None:
        """Act on what has been said; wait when there is nothing to do."""
        with self._awake:
            while not self._inbox and not self._busy():
                looking = self._gallery is not None and self._gallery.busy
                if not self._awake.wait(_BEAT_S if looking else None):
                    self._say([])
            messages = list(self._inbox)
            self._inbox.clear()
        if self._gallery is not None and self._gallery.seconds > self._spec.picture_timeout_s:
            sys.stderr.write("encoding a picture takes too long\n")
            os._exit(1)
        cancelled = False
        for message in messages:
            match message:
                case frames.See():
                    self._pictures.setdefault(message.parent, {})[message.digest] = message.pixels
                case frames.Open():
                    self._open(message)
                case _Compiled():
                    self._begin(message.message, message.places)
                case _Seen():
                    self._enter(message)
                case frames.Cancel():
                    strand = self._strands.pop(message.strand, None)
                    if strand is None:
                        self._gone[message.strand] = None  # it may be waiting for its grammar
                        while len(self._gone) > _GONE_MAX:
                            del self._gone[next(iter(self._gone))]
                    else:
                        strand.cancelled = cancelled = True
                case frames.Forget():
                    self._forget(message.documents)
                case _Left():
                    self._pictures.pop(message.parent, None)
                    for strand in [each for number, each in self._strands.items() if of(number) == message.parent]:
                        del self._strands[strand.number]
                        strand.cancelled = cancelled = True
                case _:
                    assert_never(message)
        if cancelled:
            self._shared.drop_cancelled()
            if self._alone is not None:
                self._alone.drop_cancelled()
            self._say([])

    def _busy(self) -> bool:
        return self._shared.busy or (self._alone is not None and self._alone.busy)

    def _open(self, message: frames.Open) -> None:
        pictures = self._pictures.pop(of(message.choices[0].strand), {})
        if self._parents.shared and not message.again:  # one server by itself keeps within them
            room = self._spec.slots + self._spec.queue - len(self._strands)
            if len(message.choices) > room:
                self._refuse(message, "", form=False, full=True)
                return
        places = NONE
        if message.views:
            try:
                if self._eyes is None:
                    raise ValueError("the model sees nothing")
                places = placed(message, pictures, self._eyes.patch, self._eyes.clock)
            except (ValueError, KeyError) as error:
                self._refuse(message, f"the pictures do not go with the prompt: {error}", form=False)
                return
        if message.grammar and not self._guides.known(message.grammar, message.workspace):
            self._long.submit(self._compile, message, places)
        else:
            self._begin(message, places)

    def _begin(self, message: frames.Open, places: Places) -> None:
        if not self._parents.there(message.choices[0].strand):
            return
        try:
            strands = strands_of(message, self._model.vocabulary, self._guides, places)
        except GuideError as error:
            self._refuse(message, str(error))
            return
        strands = [strand for strand in strands if strand.number not in self._gone]
        now = time.monotonic()
        fleeting = any(self._forgotten.get(document, 0.0) > now for document in message.documents)
        lane = self._shared
        if message.deterministic:
            if self._alone is None:
                self._alone = self._lane(self._spec.context_tokens, 1, 0, solitary=True)
            lane = self._alone
        for strand in strands:
            self._strands[strand.number] = strand
            strand.fleeting = fleeting
        self._show(strands, lane)

    def _show(self, strands: list[Strand], lane: Lane) -> None:
        """Let them into the lane, those with pictures when these are encoded or known not to be needed."""
        if not strands:
            return
        gallery, places = self._gallery, strands[0].places
        if gallery is not None and places:
            gallery.recall(places.unseen(0))
            if missing := places.unseen(lane.remembered(strands[0])):
                self._looking += len(strands)
                gallery.see(
                    missing,
                    lambda: any(not strand.cancelled for strand in strands),
                    lambda wrong: self._post(_Seen(strands, lane, wrong)),
                )
                return
        for strand in strands:
            lane.add(strand)

    def _blind(self, strand: Strand) -> None:
        """What it was to find in the cache has gone meanwhile; only where something is remembered."""
        self._show([strand], self._shared)

    def _enter(self, seen: _Seen) -> None:
        self._looking -= len(seen.strands)
        for strand in seen.strands:
            if strand.cancelled:
                continue
            if seen.wrong:
                self._failed(strand, seen.wrong, False)
            else:
                seen.lane.add(strand)

    def _post(self, message: _Message) -> None:
        with self._awake:
            self._inbox.append(message)
            self._awake.notify()

    def _forget(self, documents: Sequence[str]) -> None:
        now = time.monotonic()
        fresh = {document: until for document, until in self._forgotten.items() if until > now}
        self._forgotten = fresh | dict.fromkeys(documents, now + _FORGETTING_S)
        self._shared.forget(documents)  # the other lane remembers nothing
        if self._snapshots is not None:
            self._snapshots.forget(documents)

    def _compile(self, message: frames.Open, places: Places) -> None:
        """On the thread for long work: the answer begins when its grammar is there."""
        try:
            self._guides.compile(message.grammar, message.workspace)
        except GuideError as error:
            self._refuse(message, str(error))
            return
        self._post(_Compiled(message, places))

    def _refuse(self, message: frames.Open, detail: str, form: bool = True, full: bool = False) -> None:
        for choice in message.choices:
            self._parents.tell(frames.StrandFailed(choice.strand, detail, form, full))

    def _tell(self, lane: Lane) -> None:
        said = lane.step()
        for token in said:
            if token.finish:
                self._strands.pop(token.strand, None)
        self._say(said)  # also nothing: a long prompt is read for minutes, and silence means stuck

    def _say(self, said: list[frames.Token]) -> None:
        lanes = [lane for lane in (self._shared, self._alone) if lane is not None]
        running, waiting = (
            sum(len(lane.running) for lane in lanes),
            sum(len(lane.waiting) for lane in lanes) + self._looking,
        )
        batches = sum(lane.batches for lane in lanes)
        used = self._shared.cells_used
        self._parents.step(said, running, waiting, batches, used)

    def _failed(self, strand: Strand, detail: str, form: bool) -> None:
        self._strands.pop(strand.number, None)
        self._parents.tell(frames.StrandFailed(strand.number, detail, form))

    def _hear(self, message: frames.ToEngine) -> None:
        """Act on what a server says, on the thread that has read it."""
        match message:
            case frames.Encode():
                if sum(len(text) for text, _ in message.segments) > _LONG_CHARACTERS:
                    self._long.submit(self._encode, message)
                else:
                    self._encode(message)
            case frames.Pieces():
                pieces = self._model.vocabulary.pieces(frames.unpack_ids(message.ids))
                self._parents.tell(frames.Pieced(message.call, pieces))
            case frames.See() | frames.Open() | frames.Cancel() | frames.Forget():
                self._post(message)
            case _:
                assert_never(message)

    def _encode(self, message: frames.Encode) -> None:
        ids = self._model.vocabulary.encode(message.segments)
        self._parents.tell(frames.Encoded(message.call, frames.pack_ids(ids)))

    def end(self) -> None:
        """Nobody is left to work for."""
        if self._snapshots is not None:
            self._snapshots.close()
        os._exit(0)


def _processors() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main() -> None:
    """`python -m segue.engine.llama.worker FD [DOOR]`: the first server's channel, and where others come in.  The spec
    comes on standard input."""
    # Ctrl-C in a terminal reaches the whole group; the server decides when its engine stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel, *doors = [socket.socket(fileno=int(word)) for word in sys.argv[1:]]
    workers: list[Worker] = []
    parents = Parents(channel, doors[0] if doors else None, lambda: workers[0].end())
    try:
        workers.append(Worker(spec_from(sys.stdin.buffer.read()), parents))
    except (LibraryError, OSError) as error:
        parents.broken(str(error))
        return
    workers[0].run()


if __name__ == "__main__":
    main()
