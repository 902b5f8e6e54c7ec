"""A context whose "model" is a hash of everything that came before: any wrong token, position or
cell in a sequence changes every later answer, so a lane over it is checked to the last detail."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import product

import numpy as np

from segue.core.generation import Decoding
from segue.engine.llama.context import BRANCHES_MAX, DRAWN_ROWS_MAX, PROBES_MAX, DecodeError, FloatRow, Row
from segue.engine.llama.sampling import Sampler
from segue.engine.llama.strand import Strand
from segue.engine.seam.lexicon import Lexicon

VOCABULARY = 300
EOG = 7


class ToyContext:
    """Keeps `segue.engine.llama.context.Context`'s promises, and checks its callers."""

    def __init__(self, cells: int, sequences: int, rows_max: int = 32) -> None:
        self.cells, self.rows_max = cells, rows_max
        self._held: dict[int, list[tuple[int, object]]] = {}
        self._out: dict[int, list[int]] = {}
        self.steps: list[int] = []
        self.probes: list[int] = []
        self.trials = range(sequences, sequences + BRANCHES_MAX)

    def used(self) -> int:
        """Cells in use, each counted once."""
        return len({id(cell) for row in self._held.values() for _, cell in row})

    def decode(self, rows: Sequence[Row], padding: int = 0) -> None:
        """Refuses what llama.cpp refuses: too many rows, gaps, no room."""
        assert 0 < len(rows) + padding <= self.rows_max
        if self.used() + len(rows) + padding > self.cells:
            raise DecodeError(1)
        self.steps.append(len(rows) + padding)
        self._out.clear()
        for index, (token, position, sequence, wanted) in enumerate(rows):
            assert 0 <= sequence < self.trials.stop
            held = self._held.setdefault(sequence, [])
            assert position == len(held), f"position {position} after {len(held)} tokens"
            held.append((token, object()))
            if wanted:
                self._out[index] = [known for known, _ in held]

    def probe(self, rows: Sequence[Row]) -> list[FloatRow]:
        """Refuses what may not be read on trial; the rows of the last step are gone."""
        ends = [at for at, (*_, wanted) in enumerate(rows) if wanted]
        assert 0 < len(ends) <= PROBES_MAX
        assert len(ends) == 1 or len(rows) <= DRAWN_ROWS_MAX
        assert all(number in self.trials for _, _, number, _ in rows)
        steps = len(self.steps)
        self.decode(rows)
        del self.steps[steps:]
        self.probes.append(len(rows))
        return [self.logits(at) for at in ends]

    def logits(self, row: int) -> FloatRow:
        """A fresh row each time."""
        return toy_logits(self._out[row])

    def share(self, source: int, target: int, count: int) -> None:
        """The target must be empty and the source long enough."""
        assert not self._held.get(target)
        assert len(self._held[source]) >= count
        self._held[target] = self._held[source][:count]

    def save(self, sequence: int) -> list[int]:
        """The tokens."""
        return [token for token, _ in self._held[sequence]]

    def load(self, sequence: int, saved: list[int]) -> None:
        """New cells for them."""
        assert not self._held.get(sequence)
        self._held[sequence] = [(token, object()) for token in saved]

    def cut(self, sequence: int, count: int) -> None:
        """Keep `count` tokens."""
        self._held[sequence] = self._held.get(sequence, [])[:count]


def toy_logits(ids: Sequence[int]) -> FloatRow:
    """The toy model: logits from a hash of the whole sequence."""
    digest = hashlib.sha256(np.asarray(ids, np.int32).tobytes()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, np.uint64))
    return rng.normal(0, 3, VOCABULARY).astype(np.float32)


def toy_strand(
    number: int,
    ids: list[int],
    tokens: int,
    decoding: Decoding | None = None,
    workspace: str = "w",
    answer_at: int = -1,
) -> Strand:
    """A strand over the toy vocabulary."""
    how = decoding or Decoding(seed=number)
    sampler = Sampler(how, 0, np.empty(0, np.int32))
    for token in ids[answer_at:] if answer_at >= 0 else ():
        sampler.see(token)
    return Strand(number, workspace, list(ids), sampler, tokens, -1)


def toy_answer(strand: Strand) -> list[int]:
    """What a strand must say when it is alone in the world."""
    ids, sampler, said = list(strand.ids), strand.sampler, []
    alone = Sampler(sampler.decoding, sampler.choice, sampler.hidden, sampler.position, dict(sampler._counts))
    for _ in range(strand.tokens_left):
        token = alone.draw(toy_logits(ids))
        if token == EOG:
            break
        said.append(token)
        ids.append(token)
        alone.see(token)
    return said


class ToyVocabulary:
    """Token n is the two bytes of n."""

    eog = frozenset({EOG})
    hidden = np.empty(0, np.int32)
    lexicon = Lexicon([token.to_bytes(2, "little") for token in range(VOCABULARY)], {EOG})

    def piece(self, token: int) -> bytes:
        """Its bytes."""
        return token.to_bytes(2, "little")


class LetterVocabulary:
    """Every word of up to four of three letters, the shortest twice, and some longer ones: a text has many
    spellings."""

    eog = frozenset({EOG})
    hidden = np.empty(0, np.int32)
    _words = tuple(bytes(word) for size in (1, 2, 1, 2, 3, 4, 5) for word in product(b"abc", repeat=size))
    pieces = (*_words[:EOG], b"", *_words[EOG : VOCABULARY - 1])
    lexicon = Lexicon(pieces, {EOG})

    def piece(self, token: int) -> bytes:
        """Its bytes."""
        return self.pieces[token]
