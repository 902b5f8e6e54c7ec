"""Two-way healing: the seam for engines that can neither score nor tell their vocabulary's probabilities.

The last tokens of the prefix are given back and the engine is asked to write them again, from three
tokens before the end, then two, then one; the first attempt whose text begins with what was given back
stands, also where its last token goes on past the prefix.  Where no attempt does, the prefix's own
tokens stand.

This is not the exact seam: an attempt keeps the model's choice only where it happens to agree with the
prefix, and what it finds is named `healed`, so that nobody takes it for more.  Law: what comes out
continues the prefix's bytes, and reports the tokens that stand for them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from segue.core.generation import Chunk, Joined, Opened, Prompt, SeamFound
from segue.engine.base import Engine

BACK_MAX = 3


async def healed(engine: Engine, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
    """Continue the prompt, its prefix's end written again where the engine agrees with it."""
    tail = list(prompt.ids[max(prompt.answer_at, len(prompt.ids) - BACK_MAX) :])
    pieces = await engine.pieces(tail)
    for back in range(len(tail), 0, -1):
        given = b"".join(pieces[len(pieces) - back :])
        async with aclosing(_attempt(engine, prompt, back, given)) as items:
            agreed = False
            async for item in items:
                agreed = True
                yield item
            if agreed:
                return
    async with aclosing(engine.generate(replace(prompt, seam=None))) as items:
        async for item in items:
            yield replace(item, seam=SeamFound("plain")) if isinstance(item, Opened) else item


@dataclass(slots=True)
class _Choice:
    """What one choice has said while it still writes what was given back."""

    data: bytes = b""
    chunks: list[Chunk] = field(default_factory=list)


async def _attempt(engine: Engine, prompt: Prompt, back: int, given: bytes) -> AsyncGenerator[Opened | Chunk, None]:
    """The continuation behind `back` tokens fewer; nothing at all where any choice disagrees with `given`."""
    kept = len(prompt.ids) - back
    trunk = replace(
        prompt,
        ids=prompt.ids[:kept],
        output_tokens_max=min(prompt.output_tokens_max + len(given), engine.card.context_tokens - kept),
        seam=None,
    )
    writing = {choice: _Choice() for choice in range(prompt.choices)}
    left = dict.fromkeys(writing, prompt.output_tokens_max)
    held: list[Opened | Chunk] = []
    ended: set[int] = set()
    async with aclosing(engine.generate(trunk)) as items:
        async for item in items:
            if isinstance(item, Opened):
                held.append(replace(item, seam=SeamFound("healed", nodes=back)))
                continue
            if item.choice in ended:
                continue
            if (choice := writing.get(item.choice)) is not None:
                choice.data += item.data
                choice.chunks.append(item)
                size = min(len(choice.data), len(given))
                if choice.data[:size] != given[:size] or (size < len(given) and item.finish is not None):
                    return
                if size < len(given):
                    continue
                del writing[item.choice]
                item = _first(choice, item, back, len(given))  # what of it lies behind the prefix
            item = _limited(item, left)
            if item.finish is not None:
                ended.add(item.choice)
            held.append(item)
            if not writing:
                for each in held:
                    yield each
                held.clear()
                if len(ended) == prompt.choices:
                    return


def _first(choice: _Choice, last: Chunk, back: int, given: int) -> Chunk:
    """The chunk that reached the prefix's end, without what belongs to the prefix."""
    beyond = len(choice.data) - given
    path = tuple(token for chunk in choice.chunks[:-1] for token in chunk.ids)
    if beyond:
        return replace(last, data=last.data[len(last.data) - beyond :], joined=Joined(back, path))
    return replace(last, ids=(), data=b"", logprobs=(), joined=Joined(back, (*path, *last.ids)))


def _limited(chunk: Chunk, left: dict[int, int]) -> Chunk:
    """What was written again is no part of the answer's length."""
    left[chunk.choice] -= len(chunk.ids)
    if left[chunk.choice] <= 0 and chunk.finish is None:
        return replace(chunk, finish="length")
    return chunk
