"""Which tokens a constraint allows next, over the model's own vocabulary.

Laws: a guide stands behind the tokens that were consumed, and allows exactly those that some legal answer
goes on with; forced text is given as the tokens that the text would be encoded to, but for the marks of a
call, which are their own tokens where the vocabulary lets a model say them.  Compiling lets other
threads run; a mask costs some tens of microseconds, and llguidance bounds what a hostile grammar may cost.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from segue.core.callforms import CLOSE, OPEN, parts
from segue.core.generation import LEXER_FUEL
from segue.engine.words import Words

KEPT_MAX = 64
REASON_CHARACTERS_MAX = 300
LIMITS = LLParserLimits(initial_lexer_fuel=LEXER_FUEL)

Allowed = npt.NDArray[np.bool_]


class GuideError(Exception):
    """The grammar cannot be followed any further."""


def _error(matcher: LLMatcher) -> GuideError:
    """The library's own sentence, without its trace."""
    return GuideError(matcher.get_error().split("\n<state>")[0][:REASON_CHARACTERS_MAX])


class Guide:
    """One strand's place in its grammar."""

    __slots__ = ("_matcher", "_size")

    def __init__(self, matcher: LLMatcher, size: int) -> None:
        self._matcher, self._size = matcher, size

    def copy(self) -> Guide:
        """Another one at the same place."""
        return Guide(self._matcher.deep_copy(), self._size)

    def consume(self, ids: Sequence[int]) -> None:
        """The answer goes on with these tokens.  Raises GuideError when it may not."""
        if ids and not self._matcher.consume_tokens(list(ids)):
            raise _error(self._matcher)

    def takes(self, token: int) -> bool:
        """The answer goes on with this token, if it may."""
        return bool(self._matcher.try_consume_tokens([token]) == 1)

    def allowed(self) -> Allowed:
        """For each token, whether it may come next.  Raises GuideError when the grammar grew too complex."""
        mask = allocate_token_bitmask(1, self._size)
        fill_next_token_bitmask(self._matcher, mask, 0)
        if self._matcher.is_error():
            raise _error(self._matcher)
        return np.unpackbits(mask.view(np.uint8).ravel(), bitorder="little")[: self._size].astype(np.bool_)

    def behind(self, path: Sequence[int]) -> Allowed:
        """What may come after `path`, were it said; nothing where it may not be."""
        ahead = self._matcher.deep_copy()
        if path and not ahead.consume_tokens(list(path)):
            return np.zeros(self._size, np.bool_)
        return Guide(ahead, self._size).allowed()

    def forced(self) -> list[int]:
        """The tokens that every legal answer goes on with; often none."""
        ids: list[int] = self._matcher.compute_ff_tokens()
        return ids

    @property
    def may_end(self) -> bool:
        """The answer may end here."""
        return bool(self._matcher.is_accepting())

    @property
    def ended(self) -> bool:
        """Nothing may follow but the end."""
        return bool(self._matcher.is_stopped())


class Guides:
    """Compiled grammars over one vocabulary, the least recently used forgotten first; each workspace's are its own, so
    that how long one takes tells nothing of another's schemas.  One thread may compile while another asks."""

    def __init__(self, vocabulary: Words) -> None:
        self._vocabulary = vocabulary
        # At once: it takes most of a second, in which no other thread runs and no step could be made.
        self._tokenizer = _tokenizer(vocabulary)
        self._compiled: OrderedDict[tuple[str, str], LLMatcher] = OrderedDict()
        self._changing = threading.Lock()

    def compile(self, grammar: str, workspace: str = "") -> None:
        """Make ready what `guide` will give.  Raises GuideError."""
        self._known(grammar, workspace)

    def known(self, grammar: str, workspace: str = "") -> bool:
        """Is it compiled?"""
        return (workspace, grammar) in self._compiled

    def guide(self, grammar: str, workspace: str = "") -> Guide:
        """A guide at the grammar's beginning, which is compiled at once where it has just been forgotten.
        Raises GuideError."""
        return Guide(self._known(grammar, workspace).deep_copy(), self._vocabulary.size)

    def _known(self, grammar: str, workspace: str) -> LLMatcher:
        place = workspace, grammar
        with self._changing:
            if (matcher := self._compiled.get(place)) is not None:
                self._compiled.move_to_end(place)
                return matcher
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=LIMITS)
        if matcher.is_error():
            raise _error(matcher)
        with self._changing:
            self._compiled[place] = matcher
            while len(self._compiled) > KEPT_MAX:
                self._compiled.popitem(last=False)
        return matcher


class _Wrapped:
    """A vocabulary as llguidance wants to see one."""

    def __init__(self, vocabulary: Words) -> None:
        self.eos_token_id = vocabulary.eos
        self.bos_token_id = None
        # A model that has tokens for the marks of a call was taught to call with them; no other token that
        # steers may stand in an answer.
        never = {*vocabulary.eog, *vocabulary.hidden.tolist()}
        self._marks = {mark for mark in (OPEN, CLOSE) if vocabulary.control.get(mark, -1) not in {-1, *never}}
        marks = {vocabulary.control[mark] for mark in self._marks}
        special = never | ({*vocabulary.control.values()} - marks)
        self.special_token_ids = sorted(special)
        self.tokens = [
            b"" if token in special else piece
            for token, piece in enumerate(vocabulary.pieces(list(range(vocabulary.size))))
        ]
        for token in special:  # they must differ from all text
            self.tokens[token] = b"\xff<special %d>" % token
        self._vocabulary = vocabulary

    def __call__(self, text: str | bytes) -> list[int]:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return self._vocabulary.encode([(part, part in self._marks) for part in parts(text)])


def _tokenizer(vocabulary: Words) -> LLTokenizer:
    wrapped = TokenizerWrapper(_Wrapped(vocabulary))
    return LLTokenizer(wrapped, n_vocab=vocabulary.size, eos_token=sorted(vocabulary.eog))
