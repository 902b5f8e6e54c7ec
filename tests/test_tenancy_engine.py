"""With a real model: neither what is counted as cached, nor how much work a prompt is, nor how a prefix is joined tells
one workspace what another has sent."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from segue.app import build
from segue.config import Engine, Models
from segue.core.tenancy import NewKey, NewWorkspace
from tests.test_tenancy import ADMIN, CHAT, bearer, keys, settings

STORY = "Once there was a lighthouse whose keeper wrote down every ship that passed. " * 24


async def test_what_another_workspace_has_sent(small_model: Path, tmp_path: Path) -> None:
    engine = Engine(snapshots_dir=tmp_path / "snapshots", snapshots_bytes_max=0, step_target_ms=60_000)
    models = Models(default="smollm2-135m-instruct", dir=small_model.parent, pull=False)
    app = build(replace(settings(tmp_path), models=models, engine=engine))
    async with app.router.lifespan_context(app):
        await app.state.house.started()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://segue", timeout=120
        ) as client:
            for id in ("a", "b"):
                await app.state.office.add_workspace("test", NewWorkspace(id, id, frozenset({"qwen-plus"})))
            held = await keys(app, a=NewKey("a", "a"), b=NewKey("b", "b"))

            async def steps() -> float:
                told = (await client.get("/metrics", headers=bearer(ADMIN))).text
                return float(re.findall(r"^segue_engine_steps_total\{.*\} (\S+)$", told, re.MULTILINE)[0])

            async def ask(who: str, prefix: str | None = None, tokens: int = 6) -> tuple[Any, int, float]:
                """The answer, what of it was cached, and how many batches it took."""
                messages: list[dict[str, object]] = [{"role": "user", "content": STORY + "What did the keeper do?"}]
                if prefix is not None:
                    messages.append({"role": "assistant", "content": prefix, "partial": True})
                before = await steps()
                body = {"model": "qwen-plus", "messages": messages, "max_tokens": tokens, "temperature": 0}
                answer = await client.post(CHAT, json=body, headers=held[who])
                assert answer.is_success, answer.text
                cached = answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
                return answer, cached, await steps() - before

            new, cached_new, work_new = await ask("a")
            _, cached_own, work_own = await ask("a")
            other, cached_other, work_other = await ask("b")
            _, cached_again, work_again = await ask("b")
            told = (await client.get("/metrics", headers=bearer(ADMIN))).text
            (used,) = re.findall(r"^segue_engine_kv_tokens_used\{.*\} (\S+)$", told, re.MULTILINE)
            assert float(used) > 2 * 300  # the prompt, once for each of them
            assert cached_new == 0
            assert cached_own > 300
            assert work_own < work_new
            assert (cached_other, work_other) == (0, work_new)  # as if nobody had ever sent it
            assert (cached_again, work_again) == (cached_own, work_own)
            said = new.json()["choices"][0]["message"]["content"]
            assert other.json()["choices"][0]["message"]["content"] == said

            prefix = (await ask("a", tokens=9))[0].json()["choices"][0]["message"]["content"]
            assert prefix != said  # longer than anything that b was told
            joined, *_ = await ask("b", prefix)
            assert joined.headers["x-segue-seam"] != "resumed"
            resumed, *_ = await ask("a", prefix)
            assert resumed.headers["x-segue-seam"] == "resumed"
