"""The counters as a scraper sees them, and the header that tells a seam."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from segue.app import build
from segue.core.usage import Entries
from segue.engine.base import Health
from segue.files.tally import Tally
from segue.metrics import MEANINGS, TIMES, text
from segue.observe import Counters, Times, limited
from tests.test_app import ASK, CHAT, NATIVE, running, settings


def values(scraped: str) -> dict[str, float]:
    families = text_string_to_metric_families(scraped)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_every_counter_has_a_meaning() -> None:
    assert {item.name for item in dataclasses.fields(Counters)} == set(MEANINGS)
    assert {item.name for item in dataclasses.fields(Times)} == set(TIMES)


def test_times_are_told_in_buckets() -> None:
    times = Times()
    for time_s in (0.01, 0.011, 0.3, 1000.0):
        times.first_token.add(time_s)
    scraped = text(Counters(), times, {}).decode()
    told = dict(re.findall(r'segue_first_token_seconds_bucket{le="(\S+)"} (\S+)', scraped))
    assert [told[bound] for bound in ("0.01", "0.025", "0.25", "0.5", "60.0", "+Inf")] == [
        "1.0",
        "2.0",
        "2.0",
        "3.0",
        "3.0",
        "4.0",
    ]
    found = values(scraped)
    assert found["segue_first_token_seconds_count"] == 4
    assert found["segue_first_token_seconds_sum"] == pytest.approx(1000.321)
    assert found["segue_per_token_seconds_count"] == 0


async def test_every_answer_is_timed() -> None:
    async with running(build(settings())) as client:
        for _ in range(3):
            assert (await client.post(CHAT, json=ASK)).is_success
        found = values((await client.get("/metrics")).text)
    assert [found[f"segue_{name}_seconds_count"] for name in TIMES] == [3, 3, 3]
    assert found["segue_first_token_seconds_sum"] <= found["segue_answer_seconds_sum"]


def test_the_dashboard_asks_for_what_there_is() -> None:
    """Every metric that a panel names is told, and every one that is told is shown."""
    board = (Path(__file__).parent.parent / "ops" / "grafana.json").read_text(encoding="utf-8")
    panels = json.loads(board)["panels"]
    asked = {
        name for panel in panels for target in panel["targets"] for name in re.findall(r"segue_\w+", target["expr"])
    }
    scraped = text(Counters(), Times(), {"m": Health(True)}, None, limited(), Entries()).decode()
    told = {sample.name for family in text_string_to_metric_families(scraped) for sample in family.samples}
    told = {name for name in told if not name.endswith("_created")}
    assert asked <= told
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in told} <= shown
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_engines_are_told_by_name() -> None:
    scraped = text(Counters(), Times(), {"m": Health(True, 2, 3, 1, steps=4, kv_tokens=9, kv_tokens_used=5)}).decode()
    assert 'segue_engine_running{model="m"} 2.0' in scraped
    assert 'segue_engine_waiting{model="m"} 3.0' in scraped
    assert 'segue_engine_restarts_total{model="m"} 1.0' in scraped
    assert 'segue_engine_steps_total{model="m"} 4.0' in scraped
    assert 'segue_engine_kv_tokens{model="m"} 9.0' in scraped
    assert 'segue_engine_kv_tokens_used{model="m"} 5.0' in scraped


def test_files_are_counted_and_timed() -> None:
    tally = Tally(uploaded=4, deleted=1, read=2, troubled=1)
    for seconds in (0.1, 0.2, 5000.0):
        tally.steps["parse"].add(seconds)
    with pytest.raises(ValueError, match="broken"), tally.timed("index"):
        raise ValueError("broken")
    scraped = text(Counters(), Times(), {}, tally).decode()
    found = values(scraped)
    assert [found[f"segue_files_{name}_total"] for name in ("uploaded", "deleted", "read", "troubled")] == [4, 1, 2, 1]
    for bound, count in (("0.1", 1), ("0.3", 2), ("1000.0", 2), ("+Inf", 3)):
        assert f'segue_file_step_seconds_bucket{{le="{bound}",step="parse"}} {count}.0' in scraped
    assert 'segue_file_step_seconds_count{step="index"} 1.0' in scraped
    assert "segue_files" not in text(Counters(), Times(), {}).decode()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_resumed_answer_says_so_and_is_counted(stream: bool) -> None:
    """Begun in one protocol, gone on with in the other."""
    first = {**ASK, "max_tokens": 7}
    async with running(build(settings())) as client:
        answer = (await client.post(CHAT, json=first)).json()["choices"][0]
        assert (answer["message"]["content"], answer["finish_reason"]) == ("a secre", "length")
        begun = {"role": "assistant", "content": "a secre", "partial": True}
        body = {"model": "qwen-plus", "input": {"messages": [*ASK["messages"], begun]}}
        headers = {"X-DashScope-SSE": "enable"} if stream else {}
        resumed = await client.post(NATIVE, json=body, headers=headers)
        assert resumed.headers["x-segue-seam"] == "resumed"
        begun["content"] = "a sec"  # cut elsewhere, and never said to anybody in this conversation
        other = {**body, "input": {"messages": [{"role": "user", "content": "a second"}, begun]}}
        assert (await client.post(NATIVE, json=other, headers=headers)).headers["x-segue-seam"].startswith("exact")
        assert "x-segue-seam" not in (await client.post(CHAT, json=ASK)).headers
        found = values((await client.get("/metrics")).text)
    assert (found["segue_seam_resumed_total"], found["segue_seam_exact_total"]) == (1, 1)
    assert found["segue_requests_finished_total"] == 4
    assert found["segue_engine_ready"] == 1


async def test_metrics_want_a_key() -> None:
    async with running(build(settings())) as client:
        assert (await client.get("/metrics", headers={"Authorization": ""})).status_code == 401
        assert (await client.post("/metrics")).status_code == 405


def test_limits_and_records_are_told() -> None:
    scraped = text(Counters(), Times(), {}, None, {"concurrent": 2}, Entries(5, 4, 3)).decode()
    assert 'segue_limited_total{limit="concurrent"} 2.0' in scraped
    found = values(scraped)
    told = [found[f"segue_ledger_{name}"] for name in ("written_total", "waiting", "lost_total")]
    assert told == [5, 4, 3]
    assert "segue_ledger" not in text(Counters(), Times(), {}).decode()
