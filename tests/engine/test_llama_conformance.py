"""The embedded engine keeps the contract of every engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from segue.engine.base import Engine
from segue.engine.llama.engine import LlamaEngine
from segue.engine.llama.spec import LlamaSpec
from tests.engine.conformance import EngineConformance


class TestLlama(EngineConformance):
    @pytest.fixture
    async def engine(self, small_model: Path) -> AsyncIterator[Engine]:
        made = LlamaEngine(LlamaSpec("small", small_model, context_tokens=2048, kv_tokens=4096, slots=4))
        await made.start()
        yield made
        await made.close()
