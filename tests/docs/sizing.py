"""The figures of docs/cluster.md: read from bench/results, and what follows from them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

RESULTS = Path(__file__).parent.parent.parent / "bench" / "results"
READER_TOKENS_S = 15
"""How quickly people read, about: 10 to 20 tokens a second."""
LAYERS, HEADS, HEAD_DIM, BYTES = 28, 2, 128, 2
"""Of the default model: layers, heads of keys and values, numbers of a head, bytes of a number."""


def figure(file: str, pattern: str) -> float:
    """A figure of a kept table: the first number behind `pattern`."""
    found = re.search(rf"^{pattern}\s+([\d.]+)", (RESULTS / f"{file}.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, (file, pattern)
    return float(found[1])


def rows() -> Iterable[tuple[str, str, str]]:
    """What is measured, and what follows."""
    overhead = (RESULTS / "overhead.txt").read_text(encoding="utf-8")
    whole, pieces = (float(each) for each in re.findall(r"^Segue {5,}(\d{4,})", overhead, re.MULTILINE))
    stream_kib = figure("overhead", r"a waiting stream, KiB \(of 2000\)")
    process_mib = figure("overhead", r"the API process beside a working engine, MiB")
    writes = figure("decode", r"while all eight draw")
    reads = float(re.findall(r"^Segue +[\d.]+ +(\d+)$", (RESULTS / "warm.txt").read_text(), re.MULTILINE)[0])
    kv = 2 * LAYERS * HEADS * HEAD_DIM * BYTES
    measured, follows = "measured", "follows"
    yield "W: whole short answers a second, one process", f"{whole:,.0f}", f"{measured}, `overhead.txt`"
    yield "P: streamed pieces a second, one process", f"{pieces:,.0f}", f"{measured}, `overhead.txt`"
    yield "S: memory of a waiting stream", f"{stream_kib:g} KiB", f"{measured}, `overhead.txt`"
    yield "M: memory of a process", f"{process_mib:g} MiB", f"{measured}, `overhead.txt`"
    yield (
        f"readers of {READER_TOKENS_S} tokens/s that a process can stream to",
        f"{pieces / READER_TOKENS_S:,.0f}",
        f"{follows}: P / {READER_TOKENS_S}",
    )
    yield "memory for 10,000 waiting streams", f"{10_000 * stream_kib / 1024:,.0f} MiB", f"{follows}: 10,000 S"
    yield "G: tokens/s the default model writes on two cores, eight answers", f"{writes:g}", f"{measured}, `decode.txt`"
    yield "R: tokens/s it reads of a prompt there", f"{reads:g}", f"{measured}, `warm.txt`"
    yield (
        f"readers of {READER_TOKENS_S} tokens/s that these two cores can write for",
        f"{writes / READER_TOKENS_S:.1f}",
        f"{follows}: G / {READER_TOKENS_S}",
    )
    yield "K: context memory of the default model", f"{kv:,} bytes a token", f"{follows}: formula below"
    yield "the same for `engine.kv_tokens` = 32,768", f"{32_768 * kv / 2**20:,.0f} MiB", f"{follows}: 32,768 K"
