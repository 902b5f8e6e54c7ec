"""The counters in the text form of Prometheus.

Law: only sums over everybody; no label names a caller, a workspace or a text.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from segue.core.histogram import Histogram
from segue.core.usage import Entries
from segue.engine.base import Health
from segue.files.tally import BOUNDS_S, Tally
from segue.observe import Counters, Times

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

MEANINGS = {
    "requests_finished": "Answers that came to their end.",
    "requests_refused": "Requests refused before an answer began.",
    "requests_failed": "Answers that broke off.",
    "requests_left": "Answers whose client left.",
    "prompt_tokens": "Tokens of prompts, prefixes included.",
    "cached_tokens": "Tokens of prompts that had not to be read again.",
    "output_tokens": "Tokens generated.",
    "seam_exact": "Prefixes joined by a search of their cover.",
    "seam_healed": "Prefixes whose last tokens were written again.",
    "seam_resumed": "Prefixes gone on with from recorded tokens.",
    "seam_plain": "Prefixes taken as they stand.",
    "seam_nodes": "Beginnings read by searches.",
    "seam_bound": "Sum of the bounds (total variation) that searches ended with.",
}


TIMES = {
    "first_token": "From when an answer may begin to its first text.",
    "per_token": "Between the tokens of an answer, on average.",
    "answer": "From when an answer may begin to its end.",
}


FILES = {
    "uploaded": "Files that were uploaded.",
    "deleted": "Files that were deleted.",
    "read": "Contents of files that were read and can be asked about.",
    "troubled": "Contents of files that could not be read.",
}


ENTRIES = {
    "written": "Records of use that were written to the ledger.",
    "lost": "Records of use that are lost.",
}


def text(
    counters: Counters,
    times: Times,
    engines: Mapping[str, Health],
    files: Tally | None = None,
    limited: Mapping[str, int] | None = None,
    entries: Entries | None = None,
) -> bytes:
    """One scrape.  `engines` by served name; `files` where some are kept; `limited` is how often each limit has refused
    somebody; `entries` are what became of records, where there is a ledger."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Now(counters, times, engines, files, limited or {}, entries))
    return generate_latest(registry)


class _Now(Collector):
    """What the counters say at this moment."""

    def __init__(
        self,
        counters: Counters,
        times: Times,
        engines: Mapping[str, Health],
        files: Tally | None,
        limited: Mapping[str, int],
        entries: Entries | None,
    ) -> None:
        self._counters, self._times, self._engines, self._files = counters, times, engines, files
        self._limited, self._entries = limited, entries

    def collect(self) -> Iterator[Metric]:
        """Counters first, then limits, times, the ledger, files, the engines."""
        for name, value in dataclasses.asdict(self._counters).items():
            yield CounterMetricFamily(f"segue_{name}", MEANINGS[name], value=value)
        refused = CounterMetricFamily("segue_limited", "Requests that a limit has refused.", labels=["limit"])
        for limit, count in self._limited.items():
            refused.add_metric([limit], count)
        yield refused
        for name, meaning in TIMES.items():
            found: Histogram = getattr(self._times, name)
            yield HistogramMetricFamily(
                f"segue_{name}_seconds", meaning, buckets=found.cumulative(), sum_value=found.sum_s
            )
        if self._entries is not None:
            yield from _ledger(self._entries)
        if self._files is not None:
            yield from _files(self._files)
        ready = GaugeMetricFamily("segue_engine_ready", "1 when the engine can answer.", labels=["model"])
        running = GaugeMetricFamily("segue_engine_running", "Choices being computed.", labels=["model"])
        waiting = GaugeMetricFamily("segue_engine_waiting", "Choices waiting for a place.", labels=["model"])
        restarts = CounterMetricFamily("segue_engine_restarts", "Restarts of the engine's process.", labels=["model"])
        steps = CounterMetricFamily("segue_engine_steps", "Batches computed by the model.", labels=["model"])
        kv = GaugeMetricFamily("segue_engine_kv_tokens", "Tokens of context that memory is for.", labels=["model"])
        used = GaugeMetricFamily("segue_engine_kv_tokens_used", "Those that hold something.", labels=["model"])
        failovers = CounterMetricFamily(
            "segue_engine_failovers",
            "Answers that went on at another upstream, or in the engine's next process, when one failed.",
            labels=["model"],
        )
        for model, health in self._engines.items():
            kv.add_metric([model], health.kv_tokens)
            used.add_metric([model], health.kv_tokens_used)
            failovers.add_metric([model], health.failovers)
            ready.add_metric([model], float(health.ready))
            running.add_metric([model], health.running)
            waiting.add_metric([model], health.waiting)
            restarts.add_metric([model], health.restarts)
            steps.add_metric([model], health.steps)
        yield from (ready, running, waiting, restarts, steps, failovers, kv, used)


def _ledger(entries: Entries) -> Iterator[Metric]:
    for name, meaning in ENTRIES.items():
        yield CounterMetricFamily(f"segue_ledger_{name}", meaning, value=getattr(entries, name))
    waiting = "Records of use that have yet to be written to the ledger."
    yield GaugeMetricFamily("segue_ledger_waiting", waiting, value=entries.waiting)


def _files(files: Tally) -> Iterator[Metric]:
    for name, meaning in FILES.items():
        yield CounterMetricFamily(f"segue_files_{name}", meaning, value=getattr(files, name))
    seconds = HistogramMetricFamily(
        "segue_file_step_seconds", "How long a step of reading a file took.", labels=["step"]
    )
    for step, durations in files.steps.items():
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        counts = itertools.accumulate(durations.counts)
        seconds.add_metric([step], list(zip(bounds, counts, strict=True)), sum_value=durations.sum_s)
    yield seconds
