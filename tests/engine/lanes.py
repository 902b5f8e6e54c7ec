"""A lane over the toy model, and what its strands must say when each is alone in the world."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from segue.core.generation import Decoding
from segue.engine.llama import frames
from segue.engine.llama.lane import Lane
from segue.engine.llama.memory import Memory
from segue.engine.llama.pace import Pace
from segue.engine.llama.sampling import Sampler
from segue.engine.llama.strand import Strand, strands_of
from segue.engine.seam.cover import Cover, Part
from tests.engine.toy import EOG, VOCABULARY, LetterVocabulary, ToyContext, ToyVocabulary, toy_logits

LETTERS = LetterVocabulary()
SHORT = [token for token in range(VOCABULARY) if 0 < len(LETTERS.piece(token)) <= 2]
SEAM = frames.Seam(tokens=2, eps=0.0, nodes=100_000, seconds=1e9)


class Bench:
    """The lane, and what was heard of each strand."""

    def __init__(
        self,
        cells: int = 400,
        slots: int = 4,
        rows: int = 32,
        solitary: bool = False,
        vocabulary: ToyVocabulary | LetterVocabulary | None = None,
    ) -> None:
        self.vocabulary = vocabulary or ToyVocabulary()
        self.context = ToyContext(cells, slots + 6, rows)
        self.memory = Memory(self.context, slots + 6)  # type: ignore[arg-type]
        self.failed: list[tuple[int, str]] = []
        self.said: dict[int, list[int]] = {}
        self.data: dict[int, bytes] = {}
        self.finish: dict[int, str] = {}
        self.cached: dict[int, int] = {}
        self.joined: dict[int, frames.Joined] = {}
        self.logprobs: dict[int, list[frames.Logprob]] = {}
        self.first_step: dict[int, int] = {}
        self.lane = Lane(
            self.context,  # type: ignore[arg-type]
            self.memory,
            self.vocabulary,  # type: ignore[arg-type]
            self.vocabulary.lexicon,
            slots,
            Pace(0.4, rows),
            lambda strand, why, form: self.failed.append((strand.number, why)),
            solitary,
        )

    def add(self, message: frames.Open) -> list[Strand]:
        """Queue every choice of a message."""
        made = strands_of(message, self.vocabulary)  # type: ignore[arg-type]
        for strand in made:
            self.lane.add(strand)
        return made

    def run(self, steps: int = 10_000) -> None:
        for step in range(steps):
            if not self.lane.busy:
                assert self.lane.batches == len(self.context.steps) + len(self.context.probes)
                assert self.memory.running_cells() == 0
                assert self.memory.free_cells == self.context.cells - self.context.used()
                return
            for token in self.lane.step():
                self.hear(token, step)
        pytest.fail(f"still busy after {steps} steps")

    def hear(self, token: frames.Token, step: int) -> None:
        first = token.strand not in self.first_step
        self.first_step.setdefault(token.strand, step)
        if first:
            assert token.cached >= 0
            self.cached[token.strand] = token.cached
        if token.joined is not None:
            assert first
            self.joined[token.strand] = token.joined
        if token.id >= 0:
            piece = self.vocabulary.piece(token.id)
            assert token.data == piece or (token.joined is not None and piece.endswith(token.data))
            assert token.data
            self.said.setdefault(token.strand, []).append(token.id)
            self.data[token.strand] = self.data.get(token.strand, b"") + token.data
            if token.logprob is not None:
                assert token.logprob.data == token.data
                self.logprobs.setdefault(token.strand, []).append(token.logprob)
        assert token.strand not in self.finish
        if token.finish:
            self.finish[token.strand] = token.finish


def opened(
    ids: Sequence[int],
    answer_at: int,
    how: Decoding,
    tokens: int,
    numbers: Sequence[int] = (0,),
    seam: frames.Seam | None = SEAM,
    drawn_at: int | None = None,
    workspace: str = "w",
    logprobs: int = -1,
) -> frames.Open:
    """What the engine's parent would say; choice i is strand `numbers[i]`."""
    return frames.Open(
        workspace=workspace,
        ids=frames.pack_ids(list(ids)),
        answer_at=answer_at,
        drawn_at=len(ids) if drawn_at is None else drawn_at,
        seam=seam,
        grammar="",
        choices=[frames.Choice(number, choice, 0, b"", False, tokens) for choice, number in enumerate(numbers)],
        temperature=how.temperature,
        top_p=how.top_p,
        top_k=how.top_k,
        repetition_penalty=how.repetition_penalty,
        presence_penalty=how.presence_penalty,
        frequency_penalty=how.frequency_penalty,
        seed=how.seed,
        logprobs=logprobs,
        deterministic=False,
    )


@dataclass
class Law:
    """What a strand with a seam must say, found without any search: the whole cover, one element of it by
    `Sampler.join`, then one token after the other."""

    ids: list[int]
    """All that stands in the end, the answer included."""
    said: list[int] = field(default_factory=list)
    data: bytes = b""
    back: int = 0
    path: list[int] = field(default_factory=list)
    finish: str = "length"

    @classmethod
    def of(cls, message: frames.Open, choice: int, vocabulary: LetterVocabulary) -> Law:
        ids = frames.unpack_ids(message.ids)
        how = Decoding(
            message.temperature,
            message.top_p,
            message.top_k,
            message.repetition_penalty,
            message.presence_penalty,
            message.frequency_penalty,
            message.seed,
        )
        law, sampler = cls(ids), Sampler(how, choice, np.empty(0, np.int32))
        assert message.seam is not None
        # Words of letters without blanks are open from their beginning: as many as may be are given back.
        law.back = min(message.seam.tokens, len(ids) - message.answer_at)
        trunk = ids[: len(ids) - law.back]
        tail = b"".join(map(vocabulary.piece, ids[len(ids) - law.back :]))
        for token in trunk[message.answer_at :]:
            sampler.see(token)
        parts = tuple(every_part(trunk, (), tail, 0, 0.0, vocabulary))
        element = sampler.join(Cover(tail, parts, 0.0, 0))
        over = vocabulary.piece(element.token)[element.used :]
        law.path = [*element.path] if over else [*element.path, element.token]
        law.ids = [*trunk, *element.path, element.token]
        for token in law.ids[len(trunk) :]:
            sampler.see(token)
        if over:
            law.said.append(element.token)
            law.data = over
        while len(law.said) < message.choices[choice].tokens_max:
            token = sampler.draw(toy_logits(law.ids))
            if token == EOG:
                law.finish = "stop"
                break
            sampler.see(token)
            law.ids.append(token)
            law.said.append(token)
            law.data += vocabulary.piece(token)
        return law


def every_part(
    trunk: list[int], path: tuple[int, ...], tail: bytes, done: int, weight: float, vocabulary: LetterVocabulary
) -> Iterator[Part]:
    """The whole cover of a tail, by trying every token everywhere."""
    logits = toy_logits([*trunk, *path])
    chances = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum()) + weight
    reaching, rest = [], tail[done:]
    for token, piece in enumerate(vocabulary.pieces):
        if piece.startswith(rest):
            reaching.append(token)
        elif piece and rest.startswith(piece):
            more, size = (*path, token), done + len(piece)
            yield from every_part(trunk, more, tail, size, float(chances[token]), vocabulary)
    if reaching:
        tokens = np.asarray(reaching, np.intp)
        yield Part(path, done, tokens, chances[tokens], logits[tokens])


def lane(cells: int = 400, slots: int = 4, rows: int = 32, solitary: bool = False) -> Bench:
    return Bench(cells, slots, rows, solitary, LETTERS)


def message(rng: random.Random, number: int, choices: int = 1, head: list[int] | None = None) -> frames.Open:
    """A conversation of any tokens, and a prefix that ends in short ones, so that its cover is small."""
    before = (head or [])[: rng.randrange(1, 20)] + [
        rng.choice([t for t in range(VOCABULARY) if t != EOG]) for _ in range(rng.randrange(1, 12))
    ]
    prefix = [rng.choice(SHORT) for _ in range(rng.randrange(1, 5))]
    how = Decoding(
        temperature=rng.choice([0.0, 0.7, 1.3]),
        top_p=rng.choice([0.8, 1.0]),
        top_k=rng.choice([0, 20]),
        repetition_penalty=rng.choice([1.0, 1.3]),
        presence_penalty=rng.choice([0.0, 0.5]),
        seed=rng.randrange(1000),
    )
    numbers = [number * 10 + choice for choice in range(choices)]
    return opened([*before, *prefix], len(before), how, rng.randrange(1, 12), numbers)


def wide(number: int) -> frames.Open:
    """A prefix with a large cover: its last two tokens have four bytes."""
    long = [token for token in SHORT if len(LETTERS.piece(token)) == 2]
    ids = [40, 50, 60, long[0], long[4], long[5]]
    return opened(ids, 3, Decoding(1.0, 1.0, 0, seed=number), 6, [number])


def check(bench: Bench, sent: frames.Open, bound: float = 0.0) -> list[Law]:
    """Each choice has said what the law says, and reported how its prefix was joined."""
    laws = []
    for choice, asked in enumerate(sent.choices):
        law, number = Law.of(sent, choice, LETTERS), asked.strand
        assert bench.said.get(number, []) == law.said
        assert bench.data.get(number, b"") == law.data
        assert bench.finish[number] == law.finish
        joined, ids = bench.joined[number], frames.unpack_ids(sent.ids)
        assert (joined.back, frames.unpack_ids(joined.path)) == (law.back, law.path)
        assert joined.bound <= bound
        # Prompt, but for what was given back, then the path, then what was said: these are its tokens.
        standing = [*ids[: len(ids) - joined.back], *frames.unpack_ids(joined.path), *law.said]
        assert standing == law.ids
        spelled = [b"".join(map(LETTERS.piece, some)) for some in (ids, standing)]
        assert spelled[1] == spelled[0] + law.data
        laws.append(law)
    return laws


def replaced(sent: frames.Open, **changes: object) -> frames.Open:
    fields = {name: getattr(sent, name) for name in sent.__struct_fields__}
    return frames.Open(**(fields | changes))


def replaced_choice(choice: frames.Choice, number: int) -> frames.Choice:
    return frames.Choice(number, choice.choice, choice.back, choice.generated, choice.joined, choice.tokens_max)


def replace_seam(nodes: int = 100_000, seconds: float = 1e9) -> frames.Seam:
    return frames.Seam(SEAM.tokens, SEAM.eps, nodes, seconds)
