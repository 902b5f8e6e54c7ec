"""A context whose "model" is a hash of everything that came before: any wrong token, position or
cell in a sequence changes every later answer, so a lane over it is checked to the last detail."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from segue.core.generation import Decoding
from segue.engine.llama.context import BRANCHES_MAX, DRAWN_ROWS_MAX, PROBES_MAX, DecodeError, FloatRow, Patch, Row
from segue.engine.llama.places import NONE, Places
from segue.engine.llama.sampling import Sampler
from segue.engine.llama.strand import Strand
from segue.engine.seam.lexicon import Lexicon

VOCABULARY = 300
EOG = 7


class ToyContext:
    """Keeps `segue.engine.llama.context.Context`'s promises, and checks its callers."""

    def __init__(self, cells: int, sequences: int, rows_max: int = 32) -> None:
        self.cells, self.rows_max = cells, rows_max
        self._held: dict[int, list[tuple[int, object, int]]] = {}
        """Of each sequence its tokens, each with its cell and its position in time."""
        self._out: dict[int, list[int]] = {}
        self.steps: list[int] = []
        self.probes: list[int] = []
        self.trials = range(sequences, sequences + BRANCHES_MAX)

    def used(self) -> int:
        """Cells in use, each counted once."""
        return len({id(cell) for row in self._held.values() for _, cell, _ in row})

    def decode(
        self,
        rows: Sequence[Row],
        padding: int = 0,
        patches: Mapping[int, Patch] | None = None,
    ) -> None:
        """Refuses what llama.cpp refuses: too many rows, gaps between tokens, steps back, no room."""
        assert 0 < len(rows) + padding <= self.rows_max
        if self.used() + len(rows) + padding > self.cells:
            raise DecodeError(1)
        self.steps.append(len(rows) + padding)
        self._out.clear()
        for index, (token, position, sequence, wanted) in enumerate(rows):
            assert 0 <= sequence < self.trials.stop
            held = self._held.setdefault(sequence, [])
            patch = None if patches is None else patches.get(index)
            assert (patch is not None) == (token < 0)
            if patch is None:
                after = -1 if not held else held[-1][2]
                seen = any(known < 0 for known, _, _ in held)
                assert position > after if seen else position == after + 1, f"position {position} after {after}"
            else:
                assert patch[0].tolist() == [token], "another picture's row"
                assert position == patch[1][0] >= (held[-1][2] if held else 0)
            held.append((token, object(), position))
            if wanted:
                self._out[index] = [known for known, _, _ in held]

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

    def share(self, source: int, target: int, end: int) -> None:
        """The target must be empty and the source long enough."""
        assert not self._held.get(target)
        assert any(token < 0 for token, _, _ in self._held[source]) or len(self._held[source]) >= end
        self._held[target] = [each for each in self._held[source] if each[2] < end]

    def save(self, sequence: int) -> list[tuple[int, int]]:
        """The tokens and their positions."""
        return [(token, position) for token, _, position in self._held[sequence]]

    def load(self, sequence: int, saved: list[tuple[int, int]]) -> None:
        """New cells for them."""
        assert not self._held.get(sequence)
        self._held[sequence] = [(token, object(), position) for token, position in saved]

    def cut(self, sequence: int, end: int) -> None:
        """Keep what is before position `end`."""
        self._held[sequence] = [each for each in self._held.get(sequence, []) if each[2] < end]


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
    places: Places = NONE,
) -> Strand:
    """A strand over the toy vocabulary."""
    how = decoding or Decoding(seed=number)
    sampler = Sampler(how, 0, np.empty(0, np.int32))
    for token in ids[answer_at:] if answer_at >= 0 else ():
        sampler.see(token)
    return Strand(number, workspace, list(ids), sampler, tokens, -1, places=places)


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
        """Its bytes; a picture's place has none."""
        return self.pieces[token] if token >= 0 else b""
