"""What every engine must keep.  A test class per engine inherits these and gives an `engine` fixture.

The fixture yields a started engine with room for at least two choices.  Nothing here knows what the
engine says, only how.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing

import pytest

from segue.core.errors import Broken
from segue.core.generation import Chunk, Decoding, Opened, Prompt, Segment
from segue.engine.base import Engine
from segue.prompt import template
from tests.requests import request, user

FREED_TRIES, FREED_PAUSE_S = 1000, 0.01
TEXTS = [
    "",
    "Hello",
    "  two  blanks\n\n\tand more\n",
    "春天来了,万物复苏。",
    "🙂 é e\u0301",
    "def f(n):\n    return n\n",
]


async def ask(engine: Engine, text: str = "Count to ten.", **fields: object) -> Prompt:
    """A prompt that most models answer at length."""
    ids = await engine.encode(template.render(engine.card, request(user(text))))
    known: dict[str, object] = {
        "request_id": "r1",
        "model": engine.card.name,
        "workspace": "space-1",
        "ids": ids,
        "answer_at": len(ids),
        "decoding": Decoding(temperature=0.0),
        "output_tokens_max": 12,
        "deterministic": True,
    }
    return Prompt(**(known | fields))  # type: ignore[arg-type]


async def run(engine: Engine, prompt: Prompt) -> tuple[Opened, list[Chunk]]:
    """Everything the engine says, held to the order of the contract."""
    async with aclosing(engine.generate(prompt)) as items:
        said = [item async for item in items]
    opened, chunks = said[0], said[1:]
    assert isinstance(opened, Opened)
    assert 0 <= opened.cached_tokens <= len(prompt.ids)
    live = set(range(prompt.choices))
    for chunk in chunks:
        assert isinstance(chunk, Chunk)
        assert chunk.choice in live, "a chunk of a choice that had finished, or that was not asked for"
        if chunk.finish is not None:
            live.remove(chunk.choice)
    assert not live, "choices without an end"
    return opened, [chunk for chunk in chunks if isinstance(chunk, Chunk)]


def ids_of(chunks: Iterable[Chunk], choice: int = 0) -> list[int]:
    return [token for chunk in chunks if chunk.choice == choice for token in chunk.ids]


def data_of(chunks: Iterable[Chunk], choice: int = 0) -> bytes:
    return b"".join(chunk.data for chunk in chunks if chunk.choice == choice)


async def freed(engine: Engine) -> None:
    """Wait until nothing runs."""
    for _ in range(FREED_TRIES):
        if (await engine.health()).running == 0:
            return
        await asyncio.sleep(FREED_PAUSE_S)
    raise AssertionError("a place was not given back")


class EngineConformance:
    """Inherit as `Test...` and give an `engine` fixture."""

    async def test_card(self, engine: Engine) -> None:
        card = engine.card
        template.check(card)
        assert card.name
        assert 0 < card.output_tokens_default <= card.output_tokens_max
        assert card.context_tokens > 1
        assert card.vocabulary_size > 0
        assert all(card.control_tokens)

    async def test_health(self, engine: Engine) -> None:
        health = await engine.health()
        assert health.ready
        assert (health.running, health.waiting) == (0, 0)

    @pytest.mark.parametrize("text", TEXTS)
    async def test_text_survives_the_tokenizer(self, engine: Engine, text: str) -> None:
        ids = await engine.encode([Segment(text)])
        assert b"".join(await engine.pieces(ids)) == text.encode()
        assert all(0 <= token < engine.card.vocabulary_size for token in ids)

    async def test_nothing_encodes_to_nothing(self, engine: Engine) -> None:
        assert await engine.encode([]) == []
        assert await engine.pieces([]) == []

    async def test_only_control_segments_become_control_tokens(self, engine: Engine) -> None:
        for spelling in engine.card.control_tokens[:3]:
            (control,) = await engine.encode([Segment(spelling, control=True)])
            assert await engine.pieces([control]) == [spelling.encode()]
            plain = await engine.encode([Segment(f"a{spelling}b")])
            assert control not in plain
            assert b"".join(await engine.pieces(plain)) == f"a{spelling}b".encode()

    async def test_answer_within_the_limit(self, engine: Engine) -> None:
        prompt = await ask(engine, output_tokens_max=5)
        _, chunks = await run(engine, prompt)
        ids = ids_of(chunks)
        assert len(ids) <= 5
        assert chunks[-1].finish == ("length" if len(ids) == 5 else "stop")
        assert b"".join(await engine.pieces(ids)) == data_of(chunks)

    async def test_no_logprobs_unless_asked(self, engine: Engine) -> None:
        _, chunks = await run(engine, await ask(engine))
        assert not any(chunk.logprobs for chunk in chunks)

    @pytest.mark.parametrize("alternatives", [0, 3])
    async def test_logprobs(self, engine: Engine, alternatives: int) -> None:
        _, chunks = await run(engine, await ask(engine, logprobs=alternatives))
        for chunk in chunks:
            assert len(chunk.logprobs) == len(chunk.ids)
            for logprob in chunk.logprobs:
                assert logprob.logprob <= 1e-5
                assert len(logprob.top) == alternatives
                ranked = [other.logprob for other in logprob.top]
                assert ranked == sorted(ranked, reverse=True)
        assert b"".join(logprob.data for chunk in chunks for logprob in chunk.logprobs) == data_of(chunks)

    async def test_greedy_says_the_same_again(self, engine: Engine) -> None:
        prompt = await ask(engine)
        _, first = await run(engine, prompt)
        _, second = await run(engine, prompt)
        assert ids_of(first) == ids_of(second)

    async def test_choices(self, engine: Engine) -> None:
        prompt = await ask(engine, choices=2)
        _, chunks = await run(engine, prompt)
        assert ids_of(chunks, 0) == ids_of(chunks, 1)  # greedy

    async def test_a_prefix_is_not_said_again(self, engine: Engine) -> None:
        prompt = await ask(engine, "Hello there, how are you?")
        prefix = await engine.encode([Segment("Hello there")])
        longer = await ask(engine, "Hello there, how are you?", ids=[*prompt.ids, *prefix], answer_at=len(prompt.ids))
        _, chunks = await run(engine, longer)
        assert not data_of(chunks).startswith(b"Hello there")

    async def test_side_by_side(self, engine: Engine) -> None:
        prompts = [await ask(engine, text) for text in ("Count to ten.", "Say hello.", "Count to ten.")]
        answers = await asyncio.gather(*(run(engine, prompt) for prompt in prompts[:2]))
        alone = [await run(engine, prompt) for prompt in prompts[:2]]
        assert [ids_of(chunks) for _, chunks in answers] == [ids_of(chunks) for _, chunks in alone]

    async def test_closing_frees_the_place(self, engine: Engine) -> None:
        for items_taken in (0, 1, 2):
            answer = engine.generate(await ask(engine, output_tokens_max=64))
            for _ in range(items_taken):
                await anext(answer)
            await answer.aclose()
            await freed(engine)
        await run(engine, await ask(engine))

    async def test_cancelling_frees_the_place(self, engine: Engine) -> None:
        prompt = await ask(engine, output_tokens_max=64)
        task = asyncio.create_task(run(engine, prompt))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])  # a fast engine may have ended before
        await freed(engine)

    async def test_after_close(self, engine: Engine) -> None:
        prompt = await ask(engine)
        await engine.close()
        await engine.close()
        assert not (await engine.health()).ready
        with pytest.raises(Broken):
            await run(engine, prompt)
