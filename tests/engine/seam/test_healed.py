"""Two-way healing: what comes continues the prefix's bytes, and the tokens reported spell them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing

import pytest

from segue.core.generation import Chunk, Decoding, Joined, ModelCard, Opened, Prompt, Seam, Segment
from segue.engine.base import Health
from segue.engine.seam.healed import healed

WORDS = [b"The", b" capital", b" of", b" Fran", b" France", b"ce", b" is", b" Paris", b"ca", b" ", b"x"]


class Speaker:
    """An engine that knows one sentence by heart: it goes on with it as far as the prompt agrees, token by
    token, and else says `x`."""

    card = ModelCard("speaker", 100, 50, 20, "")

    def __init__(self, *sentences: Sequence[int]) -> None:
        self._sentences = sentences
        self.asked: list[tuple[int, ...]] = []
        self.closed = 0

    async def start(self) -> None: ...

    async def encode(self, segments: Sequence[Segment]) -> list[int]:
        raise NotImplementedError

    async def pieces(self, ids: Sequence[int]) -> list[bytes]:
        return [WORDS[token] for token in ids]

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        ids = tuple(prompt.ids)
        self.asked.append(ids)
        try:
            yield Opened(0)
            for choice in range(prompt.choices):
                sentence = self._sentences[choice % len(self._sentences)]
                rest = tuple(sentence[len(ids) :]) if tuple(sentence[: len(ids)]) == ids else (10,) * 50
                said = rest[: prompt.output_tokens_max]
                for place, token in enumerate(said):
                    last = place == len(said) - 1
                    finish = ("length" if len(rest) > len(said) else "stop") if last else None
                    yield Chunk(choice, (token,), WORDS[token], finish=finish)  # type: ignore[arg-type]
        finally:
            self.closed += 1

    async def forget(self, documents: Collection[str]) -> None:
        pass

    async def health(self) -> Health:
        return Health(True)

    async def close(self) -> None: ...


def prompt(ids: Sequence[int], tokens: int = 20, choices: int = 1) -> Prompt:
    return Prompt("r", "speaker", "w", ids, 0, Decoding(), tokens, choices=choices, seam=Seam())


async def said(engine: Speaker, asked: Prompt) -> tuple[Opened, list[Chunk]]:
    async with aclosing(healed(engine, asked)) as items:
        opened, *chunks = [item async for item in items]
    assert isinstance(opened, Opened)
    whole: dict[int, list[int]] = {}
    data: dict[int, bytes] = {}
    for chunk in chunks:
        assert isinstance(chunk, Chunk)
        if chunk.choice not in whole:
            joined = chunk.joined or Joined(0, ())
            whole[chunk.choice] = [*asked.ids[: len(asked.ids) - joined.back], *joined.path]
        whole[chunk.choice] += chunk.ids
        data[chunk.choice] = data.get(chunk.choice, b"") + chunk.data
    prefix = b"".join(WORDS[token] for token in asked.ids)
    for choice, ids in whole.items():
        assert b"".join(WORDS[token] for token in ids) == prefix + data[choice]
    return opened, [chunk for chunk in chunks if isinstance(chunk, Chunk)]


async def test_a_token_cut_short_is_written_again() -> None:
    engine = Speaker([0, 1, 2, 4, 6, 7])
    opened, chunks = await said(engine, prompt([0, 1, 2, 3]))
    assert opened.seam is not None
    assert opened.seam.mode == "healed"
    assert b"".join(chunk.data for chunk in chunks) == b"ce is Paris"
    assert chunks[-1].finish == "stop"
    assert engine.closed == len(engine.asked) == 1


async def test_where_no_attempt_agrees_the_prefix_stands() -> None:
    engine = Speaker([0, 1, 2, 3, 8, 6])
    opened, chunks = await said(engine, prompt([9, 3]))
    assert opened.seam is not None
    assert opened.seam.mode == "plain"
    assert [len(ids) for ids in engine.asked] == [0, 1, 2]
    assert engine.closed == 3
    assert b"".join(chunk.data for chunk in chunks) == b"x" * 20


async def test_fewer_tokens_are_given_back_where_more_do_not_agree() -> None:
    engine = Speaker([9, 9, 4, 6])  # a path of which only the last token would be written otherwise
    opened, chunks = await said(engine, prompt([9, 9, 3]))
    assert opened.seam is not None
    assert opened.seam.mode == "healed"
    assert b"".join(chunk.data for chunk in chunks) == b"ce is"


@pytest.mark.parametrize("tokens", [1, 2, 3])
async def test_what_is_written_again_is_no_part_of_the_length(tokens: int) -> None:
    _, chunks = await said(Speaker([0, 1, 2, 4, 6, 7]), prompt([0, 1, 2, 3], tokens))
    assert sum(len(chunk.ids) for chunk in chunks) == tokens
    assert chunks[-1].finish == ("length" if tokens < 3 else "stop")


async def test_a_prefix_at_a_token_s_end_costs_no_token() -> None:
    opened, chunks = await said(Speaker([0, 1, 2, 4, 6, 7]), prompt([0, 1, 2, 4], 2))
    assert opened.seam is not None
    assert opened.seam.mode == "healed"
    assert [chunk.data for chunk in chunks if chunk.data] == [b" is", b" Paris"]


async def test_choices_each_write_their_own() -> None:
    _, chunks = await said(Speaker([0, 1, 2, 4, 6], [0, 1, 2, 3, 5, 7]), prompt([0, 1, 2, 3], choices=2))
    texts = [b"".join(chunk.data for chunk in chunks if chunk.choice == choice) for choice in range(2)]
    assert texts == [b"ce is", b"ce Paris"]
    assert sum(chunk.finish is not None for chunk in chunks) == 2
