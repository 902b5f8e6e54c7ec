"""What goes wrong with upstreams, and what becomes of it; what may not come, and what comes instead."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from segue.core.errors import Busy, EngineFailed, EngineLost, Fault, FormatInvalid, QueueFull, TimedOut
from segue.core.generation import Chunk, Constraint, Decoding, Prompt
from segue.core.request import Format
from segue.engine.remote.engine import RemoteEngine
from segue.engine.remote.kind import Said
from segue.engine.remote.spec import KindName
from segue.engine.remote.spelling import spelled
from segue.engine.seam.lexicon import Lexicon
from segue.prompt.constraint import constraint
from tests.engine.conformance import ask, data_of, freed, ids_of, run
from tests.engine.remote.fake import PAD, START, STOP, Toy, logits, normal, upstream

LONG = 40


async def talkative(engine: RemoteEngine, **fields: object) -> Prompt:
    """A prompt whose answer goes on for a while."""
    for number in range(50):
        prompt = await ask(engine, f"Go on {number}", output_tokens_max=LONG, **fields)
        if len(ids_of((await run(engine, prompt))[1])) >= 8:
            return prompt
    raise AssertionError("every answer is short")


async def heard(engine: RemoteEngine, prompt: Prompt, said: list[Chunk]) -> None:
    """Keep what comes, for as long as it comes."""
    async for item in engine.generate(prompt):
        if isinstance(item, Chunk):
            said += [item]


@pytest.mark.parametrize(
    ("trouble", "fault"),
    [
        ("silent at first", TimedOut),
        ("silent", TimedOut),
        ("only comments", TimedOut),
        ("drops", EngineLost),
        ("ends early", EngineLost),
        ("no JSON", EngineFailed),
        ("another shape", EngineFailed),
        ("a long line", EngineFailed),
        ("an error", EngineLost),
        ("500", EngineLost),
        ("503", EngineLost),
        ("429", QueueFull),
        ("400", EngineFailed),
        ("401", EngineFailed),
        ("301", EngineFailed),
    ],
)
async def test_troubles(trouble: str, fault: type[Fault], caplog: pytest.LogCaptureFixture) -> None:
    hasty = {"first_s": 1.0, "silence_s": 1.0} if "silent" in trouble or "comments" in trouble else {}
    async with upstream("vllm", site={"key": "sk-very-secret"}, bounds=hasty) as (engine, fake):
        prompt = await talkative(engine)
        fake.trouble = trouble
        said: list[Chunk] = []
        with caplog.at_level(logging.DEBUG), pytest.raises(fault) as raised:
            await heard(engine, prompt, said)
        assert len(said) <= 2
        await freed(engine)
        assert all(headers["Authorization"] == "Bearer sk-very-secret" for headers in fake.headers)
    told = caplog.text + repr(raised.value) + str(raised.value.__cause__) + repr(engine._site)
    assert "secret" not in told, "neither the key nor what the upstream quoted is written down"
    assert "Go on" not in told


async def test_an_upstream_that_says_more_than_was_asked() -> None:
    async with upstream("vllm") as (engine, _):
        prompt = await ask(engine, output_tokens_max=3)

        kind = engine._upstream.kind  # type: ignore[union-attr]
        told = [Said((0x61, 0x62)), Said((0x63, 0x64)), Said((0x65,), finish="length")]
        kind.read = lambda event: told.pop(0) if told else None  # type: ignore[method-assign]
        _, chunks = await run(engine, prompt)
        assert data_of(chunks) == b"abc"
        assert chunks[-1].finish == "length"
        told[:] = [Said((10**7,))]
        with pytest.raises(EngineFailed):
            await run(engine, prompt)


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_what_comes_together_stays_together_where_nobody_reads_it(
    kind: KindName, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upstream(kind) as (engine, fake):
        prompt = await talkative(engine)
        said = ids_of((await run(engine, prompt))[1])
        assert engine._upstream is not None
        client = engine._upstream._client
        events = client.events

        async def together(path: str, body: bytes) -> AsyncGenerator[tuple[list[bytes], bool], None]:
            yield [event async for some, _ in events(path, body) for event in some], True

        monkeypatch.setattr(client, "events", together)
        opened, chunks = await run(engine, prompt)
        told = [chunk.cached_tokens for chunk in chunks if chunk.cached_tokens is not None]
        assert [opened.cached_tokens, *told][-1] > 0, "what was remembered is told behind the end"
        assert [len(chunk.ids) for chunk in chunks if chunk.finish is None] == [1] * (len(chunks) - 1)
        for script in ([], [0x61, 0x62, PAD, 0x63]):
            fake.script = list(script)
            _, whole = await run(engine, replace(prompt, whole=True))
            assert b"".join(await engine.pieces(ids_of(whole))) == data_of(whole)
            assert not {PAD, STOP} & set(ids_of(whole))
            if not script:
                assert ids_of(whole) == said
                assert kind != "vllm" or len(whole) <= 2


async def test_too_many_at_a_time() -> None:
    async with upstream("vllm", bounds={"running_max": 2}) as (engine, _):
        with pytest.raises(Busy):
            await run(engine, await ask(engine, choices=3))
        await run(engine, await ask(engine, choices=2))


async def test_closing_closes_the_connection() -> None:
    async with upstream("vllm", bounds={"silence_s": 60.0}) as (engine, fake):
        prompt = await talkative(engine)
        fake.trouble = "silent"
        answer = engine.generate(prompt)
        await anext(answer)
        await anext(answer)
        assert fake.open == 1
        await answer.aclose()
        await freed(engine)


async def test_health_follows_the_upstream() -> None:
    async with upstream("vllm") as (engine, fake):
        fake.trouble = "down"
        for ready in (False, True):
            async with asyncio.timeout(5):
                while True:
                    if (await engine.health()).ready is ready:
                        break
                    await asyncio.sleep(0.02)
            fake.trouble = ""


async def test_no_token_that_steers_gets_out() -> None:
    async with upstream("vllm") as (engine, fake):
        prompt = await ask(engine, output_tokens_max=6)
        fake.script = [0x61, START, PAD, 0x62]
        _, chunks = await run(engine, prompt)
        assert data_of(chunks).startswith(b"a")
        assert not {START, PAD} & set(ids_of(chunks))
        assert len(ids_of(chunks)) == 6 or chunks[-1].finish == "stop"
        again = [fields for _, fields in fake.asked if fields["max_tokens"] == 1]
        assert str(START) in again[0]["logit_bias"]


@pytest.mark.parametrize("prefix", ["", '{"th', '{"a":"f'])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
async def test_a_constraint_holds_over_the_whole_answer(prefix: str, temperature: float) -> None:
    form = r'\{"(a":"[a-f]{0,5}"|the":[0-9]{1,3})\}'
    wanted = constraint(Format("regex", source=form))
    async with upstream("vllm") as (engine, fake):
        header = (await ask(engine)).ids
        for seed in range(2):
            prompt = await ask(
                engine,
                ids=[*header, *Toy().encode([(prefix, False)])],
                answer_at=len(header),
                constraint=wanted,
                output_tokens_max=40,
                decoding=Decoding(temperature, top_p=1.0, top_k=0, seed=seed),
                logprobs=1,
            )
            _, chunks = await run(engine, prompt)
            whole = prefix + data_of(chunks).decode()
            assert chunks[-1].finish == "stop", whole
            assert re.fullmatch(form, whole)
            assert sum(len(chunk.logprobs) for chunk in chunks) == len(ids_of(chunks))
        hinted = [fields for _, fields in fake.asked if "structured_outputs" in fields]
        assert bool(hinted) is (not prefix), "it would begin anew behind a prefix"


async def test_forbidden_tokens_leave_their_share_to_the_others() -> None:
    """What is drawn under a constraint is the model's own distribution over what may come."""
    wanted = constraint(Format("regex", source="[a-f]"))
    async with upstream("vllm") as (engine, _):
        prompt = await ask(engine)
        row = normal(logits(prompt.ids))
        shares = {token: math.exp(row[token]) for token in range(0x61, 0x67)}
        total = sum(shares.values())
        counts: Counter[int] = Counter()
        draws = 80
        for seed in range(draws):
            how = Decoding(temperature=1.0, top_p=1.0, top_k=0, seed=seed)
            _, chunks = await run(engine, await ask(engine, decoding=how, constraint=wanted))
            counts[ids_of(chunks)[0]] += 1
        for token, share in shares.items():
            assert counts[token] / draws == pytest.approx(share / total, abs=0.17)


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
async def test_a_constraint_holds_where_nobody_hears_what_may_come(kind: KindName, temperature: float) -> None:
    form = r'\{"(a":"[a-f]{0,5}"|the":[0-9]{1,3})\}'
    wanted = constraint(Format("regex", source=form))
    async with upstream(kind) as (engine, fake):
        header = (await ask(engine)).ids
        prompt = await ask(
            engine,
            ids=[*header, *Toy().encode([('{"th', False)])],
            answer_at=len(header),
            constraint=wanted,
            decoding=Decoding(temperature, top_p=1.0, top_k=0, seed=3),
            logprobs=1,
        )
        heard = ids_of((await run(engine, prompt))[1])
        fake.deaf = True
        _, chunks = await run(engine, prompt)
        assert re.fullmatch(form, '{"th' + data_of(chunks).decode())
        assert sum(len(chunk.logprobs) for chunk in chunks) == len(ids_of(chunks))
        assert temperature > 0 or ids_of(chunks) == heard, "the likeliest that may come, as it would have been"


async def test_a_constraint_that_nobody_can_read() -> None:
    async with upstream("vllm") as (engine, _):
        with pytest.raises(FormatInvalid):
            await run(engine, await ask(engine, constraint=Constraint("start: (")))


async def test_an_upstream_that_cannot_read_the_constraint() -> None:
    wanted = constraint(Format("regex", source="the [a-z]{3}"))
    async with upstream("vllm") as (engine, fake):
        fake.trouble, fake.troubles = "400", 1
        _, chunks = await run(engine, await ask(engine, constraint=wanted))
        assert data_of(chunks).startswith(b"the ")
        assert len(data_of(chunks)) == 7
        assert "structured_outputs" in fake.asked[0][1]
        assert "structured_outputs" not in fake.asked[1][1]


async def test_penalties_go_on_behind_a_prefix() -> None:
    async with upstream("vllm") as (engine, fake):
        header = (await ask(engine)).ids
        how = Decoding(temperature=0.0, presence_penalty=0.5, frequency_penalty=0.25)
        prompt = await ask(engine, ids=[*header, 0x61, 0x62, 0x61], answer_at=len(header), decoding=how)
        await run(engine, prompt)
        assert fake.asked[0][1]["logit_bias"] == {str(0x61): -1.0, str(0x62): -0.75}


async def test_noise_is_numbered_by_seed_choice_and_place() -> None:
    async with upstream("vllm") as (engine, fake):
        header = list((await ask(engine)).ids)

        async def seeds(**fields: object) -> list[int]:
            fake.asked.clear()
            known: dict[str, Any] = {"decoding": Decoding(seed=8), "answer_at": len(header)}
            await run(engine, await ask(engine, **(known | fields)))
            return [asked["seed"] for _, asked in fake.asked]

        assert await seeds() == [8]
        further = await seeds(ids=[*header, 0x61])
        assert further == await seeds(ids=[*header, 0x62])
        assert further != [8]
        assert await seeds(first_choice=1) == (await seeds(choices=2))[1:]


def test_tokens_are_found_by_their_bytes() -> None:
    lexicon = Lexicon(Toy().pieces(range(STOP)))
    pieces = Toy().pieces
    for data, count in ((b"Fran", 1), (b"Fran", 4), (b"in the", 2), ("🙂".encode()[:3], 3)):
        found = spelled(lexicon, data, count)
        assert found is not None
        assert len(found) == count
        assert b"".join(pieces(found)) == data
    assert spelled(lexicon, b"ab", 1) is None
    assert spelled(lexicon, b"ab", 3) is None
    assert spelled(lexicon, b"", 1) is None
    assert spelled(lexicon, b"a" * 100, 5) is None
