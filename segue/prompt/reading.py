"""What is read of the documents of a conversation, so that it fits the model.

    Request -> the files, waited for -> are they too many, too long? -> whole | passages | extract -> token ids

Three ways, the first that will do: all documents, when they fit; an extract of each, for a question about all of it;
the passages that fit the question best.  The bill is the same for all three: the messages and the whole length of
every document.

Laws: everything that can be refused is refused here, in the service's order: the files and their state, then the
length of single messages, then that of everything; room is kept for the answer; every count and wait has its limit
in `Limits`.  It refuses to know where files lie and how passages are found (`Library`, `Finder`), templates and
tokens (`Model`).
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from segue.core import frozen
from segue.core.documents import File, Part, Passage, mark
from segue.core.errors import FileUnknown, MessageTooLong, PromptTooLong, TokensTooMany
from segue.core.generation import Citation, ModelCard, Reading, Tier
from segue.core.request import Request, Source
from segue.prompt.documents import Sheet, asked_before, question, quoted, whole
from segue.prompt.notes import Source as Noted
from segue.prompt.notes import noted
from segue.prompt.statements import Limits as StatementLimits
from segue.prompt.statements import Statements

PIECE_CHARS = 100_000  # of a text that is counted
COUNTS_MAX = 1024  # lengths of texts remembered
TITLE_TOKENS = 16  # around a document or a passage, about, beside its name
WORDS_TOKENS = 64  # around all of them
PASSAGE_TOKENS_MIN = 32  # less room than that is none
OTHERS_COST = 3  # so many passages fewer that do not name what is asked for, for each one that does


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be read.

    `message_tokens_max` bounds every user message and the role, or (`lenient`) user messages beside documents only;
    `whole_tokens_max` 0 is whatever fits; for a question about all of documents of at most `notes_tokens_max` the
    model takes notes of them, `notes_at_a_time` many.
    """

    lenient: bool = False
    message_tokens_max: int = 9000
    text_tokens_max: int = 1_000_000
    total_tokens_max: int = 10_000_000
    parse_wait_s: float = 20.0
    whole_tokens_max: int = 0
    passages_tokens_max: int = 1024
    passages_max: int = 8
    notes_tokens_max: int = 0
    notes_at_a_time: int = 4
    statements: StatementLimits = field(default_factory=lambda: StatementLimits(0))


class Readable(Protocol):
    """An uploaded file that has been read: where its text is, its parts, what finds passages in it."""

    @property
    def file(self) -> File: ...
    @property
    def text(self) -> Path: ...
    @property
    def parts(self) -> tuple[Part, ...]: ...
    @property
    def index(self) -> Path | None: ...


class Library(Protocol):
    """The uploaded files."""

    def reading(
        self, workspace: str, ids: Sequence[str], wait_s: float
    ) -> AbstractAsyncContextManager[Sequence[Readable]]:
        """The named files, held until the context ends.  Raises FileUnknown, FileGone, FileProcessing, FileTroubled."""
        ...


class NoLibrary:
    """Where no files are kept."""

    @asynccontextmanager
    async def reading(
        self, workspace: str, ids: Sequence[str], wait_s: float
    ) -> AsyncGenerator[Sequence[Readable], None]:
        """Raises FileUnknown for the first."""
        for id in ids:
            raise FileUnknown(id)
        yield ()


@frozen
class Volume:
    """A document that is there to be read: a file, or a text that was sent (`sent`; then there is no `held`).
    `owner` is the workspace that it is read for."""

    tokens: int
    held: Readable | None = None
    sent: str = ""
    owner: str = ""

    @property
    def name(self) -> str:
        """The file's name; "" for a text."""
        return "" if self.held is None else self.held.file.name


class Finder(Protocol):
    """What looks into documents.  Nothing here waits on the event loop's thread."""

    async def wants_whole(self, question: str, before: Sequence[str]) -> bool:
        """Whether the question is about all of the documents and no place in them; `before` are those asked
        before it."""
        ...

    async def texts(self, volumes: Sequence[Volume]) -> Sequence[str]:
        """All of each."""
        ...

    async def sample(self, volumes: Sequence[Volume]) -> str:
        """A little of their texts, from several places."""
        ...

    async def find(
        self, volumes: Sequence[Volume], question: str, before: Sequence[str], tokens_max: int, statements: str = ""
    ) -> Sequence[tuple[Passage, str]]:
        """The passages that fit the question best, each with its text, in the documents' order; some of every
        document, as far as there is room.  `statements` is how they may put the answer, "" where nobody says."""
        ...

    async def digest(self, volumes: Sequence[Volume], question: str, tokens_max: int) -> Sequence[tuple[Passage, str]]:
        """What stands for all of each document, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """The model that will answer: its card, the ids of a conversation as it is shown, the length of a text, what it
    answers to a conversation with something of the marked documents, in so many tokens at most (raises
    PromptTooLong); whether its template leaves system messages out."""

    card: ModelCard
    ids: Callable[[Request], Awaitable[list[int]]]
    count: Callable[[str], Awaitable[int]]
    say: Callable[[Request, int, frozenset[str]], Awaitable[str]]
    deaf: bool = False


@frozen
class Read:
    """The conversation as the model is shown it, in `ids`; what it counts on the bill, in `tokens`; what was read;
    the marks of the files."""

    ids: list[int]
    tokens: int
    reading: Reading | None = None
    documents: frozenset[str] = frozenset()


class Reader:
    """Reads for one conversation after the other; remembers how long texts are."""

    def __init__(self, library: Library, finder: Finder, limits: Limits) -> None:
        self._library, self._finder, self._limits = library, finder, limits
        self._counts: OrderedDict[tuple[str, str, bytes], int] = OrderedDict()
        self._statements = Statements(limits.statements)

    async def read(self, request: Request, model: Model) -> Read:
        """Read what the conversation is about.  Raises the Faults of `Library`, MessageTooLong, TokensTooMany."""
        sources = request.documents or ()
        async with AsyncExitStack() as held:
            ids = [source.id for source in sources if source.id is not None]
            limits = self._limits
            files = (
                await held.enter_async_context(
                    self._library.reading(request.caller.workspace, ids, limits.parse_wait_s)
                )
                if ids
                else ()
            )
            await self._check_messages(request, model)
            volumes = await self._volumes(sources, files, model, request.caller.workspace)
            bare = await model.ids(request)
            prefix = await model.count(request.prefix) if request.prefix else 0
            tokens = len(bare) + sum(volume.tokens for volume in volumes)
            if tokens + prefix > limits.total_tokens_max:
                raise TokensTooMany(limits.total_tokens_max)
            if not volumes:
                return Read(bare, tokens)
            window = model.card.context_tokens - prefix
            read = await self._tier(request, model, volumes, bare, window, tokens)
            return replace(read, documents=_marks(volumes))

    async def _tier(
        self, request: Request, model: Model, volumes: Sequence[Volume], bare: list[int], window: int, tokens: int
    ) -> Read:
        """The first way that will do; `window` is what the context leaves for the conversation and its answer."""
        card, limits = model.card, self._limits
        answer = min(request.output_tokens_max or card.output_tokens_default, card.output_tokens_max)
        window -= max(1, min(answer, (window - len(bare)) // 2))
        room = window - len(bare) - WORDS_TOKENS
        length = sum(volume.tokens for volume in volumes)
        titled = length + sum(TITLE_TOKENS + len(volume.name.encode("utf-8", "replace")) for volume in volumes)
        if titled <= room and (not limits.whole_tokens_max or length <= limits.whole_tokens_max):
            read = await self._whole(request, model, volumes, window, tokens)
            if read is not None:
                return read
        asked, before = question(request), asked_before(request)
        tokens_max = min(room, limits.passages_tokens_max)
        found: Sequence[tuple[Passage, str]] = ()
        tier: Tier = "retrieval"
        if tokens_max >= PASSAGE_TOKENS_MIN:
            if not await self._finder.wants_whole(asked, before):
                statements = await self._stated(request, model, volumes)
                found = await self._finder.find(volumes, asked, before, tokens_max, statements)
                found = _best(found, limits.passages_max)
            if not found:  # no place is meant, or none was found
                tier, found = await self._told(request, model, volumes, tokens_max)
        shown, kept = await _fitted(request, model, volumes, found, tier, window)
        citations = tuple(_citation(volumes[passage.document], passage, text) for passage, text in kept)
        return Read(bare if shown is None else shown, tokens, Reading(tier, len(volumes), length, citations))

    async def _stated(self, request: Request, model: Model, volumes: Sequence[Volume]) -> str:
        """How the documents may put the answer, as the model sees it."""

        async def say(asked: Request, tokens: int) -> str:
            return await model.say(asked, tokens, frozenset())

        asked, before, sample = question(request), asked_before(request), await self._finder.sample(volumes)
        return await self._statements.about(request, asked, before, sample, model.card.name, say)

    async def _told(
        self, request: Request, model: Model, volumes: Sequence[Volume], tokens_max: int
    ) -> tuple[Tier, Sequence[tuple[Passage, str]]]:
        """What stands for all of the documents: the model's own notes where it may take some, else an extract."""
        limits = self._limits
        if sum(volume.tokens for volume in volumes) <= limits.notes_tokens_max:
            texts = await self._finder.texts(volumes)
            shown = [Noted(each.name, text, each.tokens) for each, text in zip(volumes, texts, strict=True)]
            context, many = model.card.context_tokens, limits.notes_at_a_time

            async def say(asked: Request, tokens: int) -> str:
                return await model.say(asked, tokens, _marks(volumes))

            if notes := await noted(request, shown, context, tokens_max, many, say):
                return "notes", notes
        return "digest", await self._finder.digest(volumes, question(request), tokens_max)

    async def _whole(
        self, request: Request, model: Model, volumes: Sequence[Volume], window: int, tokens: int
    ) -> Read | None:
        """All documents; None when they do not fit after all."""
        texts = await self._finder.texts(volumes)
        sheets = [Sheet(volume.name, "", text) for volume, text in zip(volumes, texts, strict=True)]
        try:
            ids = await model.ids(whole(request, sheets, in_turn=model.deaf))
        except PromptTooLong:
            return None
        if len(ids) > window:
            return None
        citations = tuple(
            Citation(_id(volume), volume.name, "", 0, len(text.encode("utf-8", "replace")))
            for volume, text in zip(volumes, texts, strict=True)
        )
        length = sum(volume.tokens for volume in volumes)
        return Read(ids, tokens, Reading("whole", len(volumes), length, citations))

    async def _check_messages(self, request: Request, model: Model) -> None:
        """Raise MessageTooLong for a message that should have been a document."""
        limit = self._limits.message_tokens_max
        if self._limits.lenient and not request.documents:
            return
        roles = ("user",) if self._limits.lenient else ("user", "system")
        for message in request.messages:
            if message.role not in roles or len(message.content.encode("utf-8", "replace")) <= limit:
                continue  # a token has a byte at least
            if await _length(message.content, model, limit) > limit:
                raise MessageTooLong(limit)

    async def _volumes(
        self, sources: Sequence[Source], files: Sequence[Readable], model: Model, workspace: str
    ) -> list[Volume]:
        """The documents in the order they are mentioned in, with their lengths."""
        limit, spent = self._limits.text_tokens_max, 0
        opened = iter(files)
        volumes: list[Volume] = []
        for source in sources:
            if source.id is not None:
                held = next(opened)
                volumes.append(Volume(held.file.tokens, held, owner=workspace))
                continue
            tokens = await self._counted(source.text, model, limit - spent, workspace)
            spent += tokens
            if spent > limit:
                raise MessageTooLong(limit)
            volumes.append(Volume(tokens, sent=source.text, owner=workspace))
        return volumes

    async def _counted(self, text: str, model: Model, limit: int, workspace: str) -> int:
        """How many tokens the text has, or a number past the limit; remembered, for a text comes with every turn, and
        for its workspace alone: what was counted before is there sooner."""
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        key = model.card.name, workspace, digest
        known = self._counts.get(key)
        if known is not None:
            self._counts.move_to_end(key)
            return known
        tokens = await _length(text, model, limit)
        if tokens <= limit:
            self._counts[key] = tokens
            while len(self._counts) > COUNTS_MAX:
                self._counts.popitem(last=False)
        return tokens


async def _length(text: str, model: Model, limit: int) -> int:
    """How many tokens a text has; counted in pieces, and no further than just past the limit."""
    tokens = 0
    for at in range(0, len(text), PIECE_CHARS):
        tokens += await model.count(text[at : at + PIECE_CHARS])
        if tokens > limit:
            break
    return tokens


async def _fitted(
    request: Request,
    model: Model,
    volumes: Sequence[Volume],
    found: Sequence[tuple[Passage, str]],
    tier: Tier,
    window: int,
) -> tuple[list[int] | None, list[tuple[Passage, str]]]:
    """The ids of the conversation with as many passages as fit the window, and these; None for none of them.

    Those that fit the question least go first, but for each document's last one.
    """
    kept = list(found)
    while kept:
        sheets = [Sheet(volumes[each.document].name, each.label, text, _key(each, text)) for each, text in kept]
        try:
            ids = await model.ids(quoted(request, sheets, tier))
            over = len(ids) - window
        except PromptTooLong as fault:
            over = fault.tokens - window
        else:
            if over <= 0:
                return ids, kept
        share = sum(len(text) for _, text in kept) * over // max(1, over + window)
        _drop(kept, share)
    return None, []


def _best(found: Sequence[tuple[Passage, str]], count: int) -> list[tuple[Passage, str]]:
    """The passages that fit the question best, so many, the best first; each document's best one in any case.  Those
    that name what is asked for go before others, and the more there are of them the fewer of others are shown.

    A small model takes what it reads first: of questions whose answer stood among eight passages, beside others that
    say the same of names like the one asked for, the default model answered 17 of 24 when they stood in the
    document's order, and four of five of those that it had wrong when the best stood first.
    """
    places = range(len(found))
    firsts: dict[int, int] = {}
    for place in sorted(places, key=lambda place: (found[place][0].key is None, -found[place][0].score)):
        firsts.setdefault(found[place][0].document, place)
    ranked = sorted(places, key=lambda place: -found[place][0].score)
    left = [place for place in ranked if place not in firsts.values()]
    naming = [place for place in left if found[place][0].key][: max(0, count - len(firsts))]
    named = len(naming) + sum(found[place][0].key is not None for place in firsts.values())
    room = min(count - len(firsts) - len(naming), count - OTHERS_COST * named)
    others = [place for place in left if not found[place][0].key][: max(0, room)]
    kept = {*firsts.values(), *naming, *others}
    return [found[place] for place in ranked if place in kept]


def _key(passage: Passage, text: str) -> str:
    """The sentence of a passage that names what is asked for, "" where none does."""
    if passage.key is None:
        return ""
    start, end = (at - passage.start for at in passage.key)
    return str(text.encode("utf-8", "replace")[start:end], "utf-8", "replace")


def _drop(kept: list[tuple[Passage, str]], chars: int) -> None:
    """Take away so many characters of passages, one at least; of equally weak ones the last."""
    left = Counter(passage.document for passage, _ in kept)
    while kept:
        ranks = [(left[passage.document] == 1, passage.score, -place) for place, (passage, _) in enumerate(kept)]
        passage, text = kept.pop(ranks.index(min(ranks)))
        left[passage.document] -= 1
        chars -= len(text)
        if chars <= 0:
            return


def _citation(volume: Volume, passage: Passage, text: str) -> Citation:
    return Citation(_id(volume), volume.name, passage.label, passage.start, passage.end, text)


def _marks(volumes: Sequence[Volume]) -> frozenset[str]:
    files = [volume.held.file for volume in volumes if volume.held is not None]
    return frozenset(mark(file.workspace, file.sha256) for file in files)


def _id(volume: Volume) -> str | None:
    return None if volume.held is None else volume.held.file.id
