"""What every upstream of a real model must keep, beside what every engine must.  The model is SmolLM2 135M."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from segue.core.generation import Chunk, Opened, Seam, Segment
from segue.core.request import Format
from segue.engine.base import Engine
from segue.prompt.constraint import check, constraint
from tests.engine.conformance import EngineConformance, ask, data_of, ids_of, run


class RemoteConformance(EngineConformance):
    """Inherit as `Test...` and give an `engine` fixture."""

    unread_max = 2
    """How much of a prompt that was read before may be read again."""

    async def test_a_prefix_that_ends_inside_a_word(self, engine: Engine) -> None:
        header = (await ask(engine, "What is the capital of France? Answer in one sentence.")).ids
        prefix = await engine.encode([Segment("The capital of Fran")])
        prompt = await ask(engine, ids=[*header, *prefix], answer_at=len(header), seam=Seam(), logprobs=1)
        opened, chunks = await run(engine, replace(prompt, output_tokens_max=3))
        assert opened.seam is not None
        assert opened.seam.mode == "exact"
        assert opened.seam.bound < 0.05
        assert data_of(chunks).startswith(b"ce")
        joined = chunks[0].joined
        assert joined is not None
        spelled = [*prompt.ids[: len(prompt.ids) - joined.back], *joined.path, *ids_of(chunks)]
        whole = b"".join(await engine.pieces(spelled[len(header) :]))
        assert whole == b"The capital of Fran" + data_of(chunks)

    @pytest.mark.parametrize("prefix", ["", '{"name": "Bo'])
    async def test_a_form_over_a_prefix(self, engine: Engine, prefix: str) -> None:
        schema = {
            "type": "object",
            "properties": {"name": {"enum": ["Bob", "Ann"]}, "age": {"type": "integer", "minimum": 1, "maximum": 99}},
            "required": ["name", "age"],
            "additionalProperties": False,
        }
        wanted = constraint(Format("json_schema", schema=schema))
        assert wanted is not None
        header = (await ask(engine, "Who are you? Answer in JSON.")).ids
        ids = [*header, *await engine.encode([Segment(prefix)])]
        prompt = await ask(engine, ids=ids, answer_at=len(header), constraint=wanted, output_tokens_max=60)
        _, chunks = await run(engine, prompt)
        if chunks[-1].finish == "stop":
            assert set(json.loads(prefix + data_of(chunks).decode())) == {"name", "age"}
        check(wanted, prefix.encode() + data_of(chunks))

    async def test_what_was_remembered(self, engine: Engine) -> None:
        prompt = await ask(engine, "What a remarkably long day this has been for everybody. " * 3, output_tokens_max=2)
        await run(engine, prompt)
        found = remembered(*await run(engine, prompt))
        assert len(prompt.ids) - self.unread_max <= found < len(prompt.ids)


def remembered(opened: Opened, chunks: Sequence[Chunk]) -> int:
    """How much of a prompt was; some upstreams tell only at the end."""
    return max([opened.cached_tokens, *(chunk.cached_tokens or 0 for chunk in chunks)])
