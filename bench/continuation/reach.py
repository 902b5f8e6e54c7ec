"""Can the tokens that the text was made of still come, when it is cut?  Asked of the vocabulary alone.

The whole passage is encoded, and so is its beginning up to the cut.  A model that has learnt the
passage's own tokens can only write them where what it is given to read ends on their path:

- plain: the beginning's tokens stand, as in every server that continues a prefix today (llama.cpp's, vLLM);
- healing: its last token is taken back, and the next one must begin with that token's bytes;
- Segue's seam: its last tokens, up to four, are taken back, and every way to spell their bytes may come.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

from bench import report
from bench.continuation.reading import lexicon_of, opened
from bench.continuation.results import Result, Settings
from bench.continuation.texts import CUTS, Passage, drawn
from bench.model import model_file
from segue.core.generation import Seam
from segue.engine.llama.vocabulary import Vocabulary
from segue.engine.seam.lexicon import Lexicon
from segue.engine.seam.tail import given_back

CUTS_EACH = 1500
TOKENS = Seam().tokens


@dataclass(frozen=True, slots=True)
class Reached:
    """What one cut came to.  `tail` is how many tokens the seam gives back."""

    plain: bool
    healed: bool
    seam: bool
    tail: int


def measure(settings: Settings) -> Result:
    """The table of all kinds of cuts."""
    model = model_file(settings.model)
    loaded = opened(model.path)
    vocabulary, lexicon = loaded.vocabulary, lexicon_of(loaded)
    rows, points = [], []
    for kind in CUTS:
        whole: dict[Passage, list[int]] = {}
        found = []
        for passage, at in drawn(kind, settings.number(CUTS_EACH, 100)):
            if passage not in whole:
                whole[passage] = vocabulary.encode([(passage.text, False)])
            found.append(reached(vocabulary, lexicon, whole[passage], passage.text[:at]))
        shares = [mean(one.plain for one in found), mean(one.healed for one in found), mean(one.seam for one in found)]
        tails = [one.tail for one in found]
        tail = f"{mean(tails):.1f} / {report.percentile(tails, 0.9)}"
        rows.append([kind.name, str(len(found)), *_shares(shares), "all", report.met(shares[2], least=1.0), tail])
        points.append(
            {"cut": kind.name, "count": len(found), **dict(zip(("plain", "healed", "seam"), shares, strict=True))}
        )
    head = ["cut", "cuts", "plain", "healing", "Segue's seam", "target", "", "tail tokens, mean / p90"]
    title = "Share of cuts behind which the text's own tokens can still come"
    return Result("reach", f"the vocabulary of {model.name}", report.table(title, head, rows), {"cuts": points})


def _shares(shares: list[float]) -> list[str]:
    return [f"{100 * share:.1f} %" for share in shares]


def reached(vocabulary: Vocabulary, lexicon: Lexicon, whole: list[int], prefix: str) -> Reached:
    """One cut."""
    ids, data = vocabulary.encode([(prefix, False)]), prefix.encode()
    count = given_back(vocabulary.pieces(ids[-TOKENS:]), TOKENS)
    return Reached(
        plain=ids == whole[: len(ids)],
        healed=ids[:-1] == whole[: len(ids) - 1]
        and vocabulary.piece(whole[len(ids) - 1]).startswith(vocabulary.piece(ids[-1])),
        seam=_spelled(vocabulary, lexicon, whole, ids[: len(ids) - count], data),
        tail=count,
    )


def _spelled(vocabulary: Vocabulary, lexicon: Lexicon, whole: list[int], trunk: list[int], data: bytes) -> bool:
    """Is the text's own path through the tail in its cover?"""
    if whole[: len(trunk)] != trunk:
        return False
    rest = data[sum(map(len, vocabulary.pieces(trunk))) :]
    for token in whole[len(trunk) :]:
        piece = vocabulary.piece(token)
        if piece.startswith(rest):
            return token in lexicon.reaching(rest)
        if token not in [inside for inside, _ in lexicon.inside(rest)]:
            return False
        rest = rest[len(piece) :]
    return False
