"""How long it takes until a question about a document has its first token: the first question, the second, and the
same after a restart of the server; and how much the server's own memory grows by 10,000,000 tokens.

Each round has a document that no round before it had.  A question's time is from its sending to the first piece of
text; `spared` is what the server says of the prompt's tokens that it had not to read again.  The server has its files
and snapshots to itself and is stopped and started between the last two questions.  The large text is uploaded, read and
asked about under the scripted model, whose answers cost nothing, so that what grows is the server.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import process, report
from bench.needles.prose import filler

MODEL, SCRIPTED = "qwen2.5-coder-1.5b-instruct", "segue-scripted"
TOKENS, QUICK_TOKENS = 20_000, 2_000
BYTES_A_TOKEN = 3.7
LARGE_BYTES, QUICK_LARGE_BYTES = 38_000_000, 2_000_000
ANSWER_TOKENS = 8
WAIT_S = 3600.0
FASTER_MIN, GROWTH_MIB_MAX = 30.0, 300.0
QUESTIONS = (
    "Who is mentioned first?",
    "Which of the things that were repaired was the oldest?",
    "What was done after the storm?",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question's first token, in seconds, and what was said of its prompt."""

    first_s: float
    tokens: int
    spared: int
    tier: str


@contextmanager
def served(model: str, folder: str) -> Iterator[tuple[int, int]]:
    """A server over this folder: its port and its process."""
    port = process.free_port()
    env = {"SEGUE_FILES_DIR": f"{folder}/files", "SEGUE_ENGINE_SNAPSHOTS_DIR": f"{folder}/snapshots"}
    env["SEGUE_ENGINE_STALL_S"] = "600"
    env["SEGUE_DOCUMENTS_TOTAL_TOKENS_MAX"] = "1000000000"  # the scripted model's tokens are bytes
    with process.server(process.segue(port, model), port, "/readyz", env=env) as pid:
        yield port, pid


def ask(port: int, file: str, question: str) -> Asked:
    """One question, streamed."""
    body = {
        "model": "qwen-long",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "system", "content": f"fileid://{file}"},
            {"role": "user", "content": question},
        ],
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    begun, first = time.perf_counter(), 0.0
    usage: dict[str, Any] = {}
    headers = {"Authorization": f"Bearer {process.KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/compatible-mode/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"{response.status}: {response.read().decode()}")
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            raise SystemExit(line.decode())
        if not first and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
            first = time.perf_counter() - begun
        usage = chunk.get("usage") or usage
    connection.close()
    spared = usage["prompt_tokens_details"]["cached_tokens"]
    return Asked(first, usage["prompt_tokens"], spared, response.getheader("x-segue-documents", "").split(";")[0])


def upload(port: int, text: bytes) -> str:
    """A file, once it can be asked about."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    border = "a-border-that-no-text-has"
    parts = (
        f'--{border}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfile-extract\r\n'
        f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="text.txt"\r\n\r\n'
    )
    key = {"Authorization": f"Bearer {process.KEY}"}
    headers = key | {"Content-Type": f"multipart/form-data; boundary={border}"}
    data = parts.encode() + text + f"\r\n--{border}--\r\n".encode()
    connection.request("POST", "/compatible-mode/v1/files", data, headers)
    file = json.loads(connection.getresponse().read())
    begun = time.monotonic()
    while file["status"] == "processing" and time.monotonic() - begun < WAIT_S:
        time.sleep(0.5)
        connection.request("GET", f"/compatible-mode/v1/files/{file['id']}", headers=key)
        file = json.loads(connection.getresponse().read())
    connection.close()
    if file["status"] != "processed":
        raise SystemExit(f"the file was not read: {file}")
    return str(file["id"])


def round_of(number: int, tokens: int, model: str) -> list[Asked]:
    """First, second, and after a restart."""
    text = "".join(filler("en", int(tokens * BYTES_A_TOKEN), 100 + number)).encode()
    with tempfile.TemporaryDirectory() as folder:
        with served(model, folder) as (port, _):
            file = upload(port, text)
            found = [ask(port, file, question) for question in QUESTIONS[:2]]
            _written(Path(folder) / "snapshots")
        with served(model, folder) as (port, _):
            found.append(ask(port, file, QUESTIONS[2]))
    return found


def _written(folder: Path) -> None:
    """Wait until a snapshot is whole: it is written behind everybody's back."""
    end = time.monotonic() + 120
    while time.monotonic() < end and not list(folder.glob("*.cells")):
        time.sleep(0.2)


def growth(size: int) -> list[str]:
    """By how many MiB the server grows: while a large file comes and is read, and while it is asked about."""
    with tempfile.TemporaryDirectory() as folder, served(SCRIPTED, folder) as (port, pid):
        file = upload(port, b"A short text, so that what is loaded once has been loaded.\n")
        ask(port, file, QUESTIONS[0])
        before = process.resident_kib(pid)
        file = upload(port, "".join(filler("en", size, 7)).encode())
        read = process.resident_kib(pid)
        times = [ask(port, file, question).first_s for question in QUESTIONS * 3]
        after = process.resident_kib(pid)
    grown = (max(read, after) - before) / 1024
    cells = [f"{size / 1e6:.0f}", f"{before / 1024:.0f}", f"{(read - before) / 1024:.0f}"]
    cells += [f"{(after - before) / 1024:.0f}", f"{report.percentile(times, 0.5) * 1000:.0f}"]
    return [*cells, f"< {GROWTH_MIB_MAX:.0f}", report.met(grown, most=GROWTH_MIB_MAX)]


def main() -> None:
    """Print the report."""
    parser = report.parser(__doc__, rounds=1, model=MODEL)
    parser.add_argument("--only", choices=("time", "memory"), help="one of the two tables")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"of the document, about ({TOKENS})")
    options = parser.parse_args()
    command = report.command("documents", options) + (f" --only {options.only}" if options.only else "")
    command += f" --tokens {options.tokens}" if options.tokens != TOKENS else ""
    parts = [report.heading("Documents: first tokens, and memory", command)]
    if options.only != "memory":
        tokens = QUICK_TOKENS if options.quick else options.tokens
        rounds = [round_of(number, tokens, options.model) for number in range(options.rounds)]
        rows = []
        for place, name in enumerate(("first", "second", "after a restart")):
            asked = [each[place] for each in rounds]
            faster = report.ratios([each[0].first_s for each in rounds], [each.first_s for each in asked])
            row = [name, str(asked[0].tokens), str(asked[0].spared), asked[0].tier]
            row.append(report.spread([each.first_s for each in asked]).text())
            kept = [f">= {FASTER_MIN:.0f}", report.met(faster.median, least=FASTER_MIN)] if place else ["", ""]
            rows.append([*row, faster.text(1) if place else "", *kept])
        head = ["question", "tokens", "spared", "way", "first token s", "times sooner", "target", ""]
        parts.append(report.table(f"A document of about {tokens} tokens", head, rows, left=1))
    if options.only != "time":
        rows = [growth(QUICK_LARGE_BYTES if options.quick else LARGE_BYTES)]
        head = ["text MB", "before MiB", "grown, read", "grown, asked", "answer ms", "target MiB", ""]
        parts.append(report.table("Memory of the server's own process", head, rows, left=0))
    print("\n".join(parts))


if __name__ == "__main__":
    main()
