"""One upstream: its kind's words over its own connections.

Law: whatever it answers, only a Fault comes out; the log says that an answer was strange, never what was in it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from segue.core import frozen
from segue.core.errors import EngineFailed
from segue.engine.remote.client import Client, UpstreamRefused
from segue.engine.remote.kind import Ask, Call, Facts, Kind, Said, Scores, Strange
from segue.engine.seam.lexicon import Lexicon
from segue.engine.words import Words

log = logging.getLogger("segue.engine")

_DONE = b"[DONE]"
_NO_SUCH_LOOK = (404, 405)
"""It is there, but has no such path to be looked at by."""


@frozen
class Model:
    """What an upstream's model is known to be."""

    words: Words
    lexicon: Lexicon
    hidden: frozenset[int]
    special: frozenset[int]
    """Those that are no text: hidden ones, and those that end an answer."""

    @classmethod
    def of(cls, words: Words) -> Model:
        """From a vocabulary; takes a while for a large one."""
        special = {*words.control.values(), *words.hidden.tolist(), *words.eog}
        hidden = frozenset(words.hidden.tolist())
        return cls(words, Lexicon(words.pieces(range(words.size)), special), hidden, hidden | frozenset(words.eog))


class Upstream:
    """Raises Faults only."""

    def __init__(self, kind: Kind, client: Client, model: Model) -> None:
        self.kind, self.model = kind, model
        self._client = client

    async def facts(self) -> Facts:
        """Whether it can answer, and what it says of itself."""
        try:
            return self.kind.facts(await self._client.get(self.kind.look()))
        except Strange as error:
            raise _strange(error) from error
        except UpstreamRefused as refusal:
            if refusal.status in _NO_SUCH_LOOK:
                return Facts()
            raise self.kind.refused(refusal.status, refusal.body) from None

    async def said(self, ask: Ask) -> AsyncGenerator[Said, None]:
        """An answer, event by event; of one that nobody reads before its end, those together that came together."""
        call, read = self.kind.ask(ask), self.kind.read
        try:
            async with aclosing(self._client.events(call.path, call.body)) as events:
                async for together, last in events:
                    ids: list[int] = []
                    end: Said | None = None
                    for event in together:
                        if event == _DONE:
                            continue  # read on to the end: the connection can be used again then
                        if (said := read(event)) is None:
                            continue
                        if end is not None:
                            if said == Said(cached=said.cached):
                                end = replace(end, cached=said.cached)
                                continue
                            yield end
                            end = None
                        if ask.whole and _plain(said):
                            ids += said.ids
                            continue
                        if ids:
                            yield Said(tuple(ids))
                            ids = []
                        if last and said.finish is not None:
                            end = said
                        else:
                            yield said
                    if ids:
                        yield Said(tuple(ids))
                    if end is not None:
                        yield replace(end, over=True)
        except Strange as error:
            raise _strange(error) from error
        except UpstreamRefused as refusal:
            raise self.kind.refused(refusal.status, refusal.body) from None

    async def rest(self, ask: Ask) -> Said | None:
        """An answer that is told at once, with all its tokens; None where its kind has no need of one."""
        call = self.kind.rest(ask)
        if call is None:
            return None
        try:
            return self.kind.read(await self._post(call))
        except Strange as error:
            raise _strange(error) from error

    async def scores(self, ids: Sequence[int], candidates: Sequence[int], space: str) -> Scores:
        """How likely tokens are after `ids`."""
        try:
            return self.kind.scores(await self._post(self.kind.score(ids, candidates, space)))
        except Strange as error:
            raise _strange(error) from error

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def _post(self, call: Call) -> bytes:
        try:
            return await self._client.post(call.path, call.body)
        except UpstreamRefused as refusal:
            raise self.kind.refused(refusal.status, refusal.body) from None


def _plain(said: Said) -> bool:
    """Does it tell of tokens, and of nothing else?"""
    return said.finish is None and said.count is None and said.cached is None and not said.logprobs and not said.text


def _strange(error: Strange) -> EngineFailed:
    log.error("an upstream answered what it should not")
    return EngineFailed(f"the upstream's answer cannot be read: {error}")
