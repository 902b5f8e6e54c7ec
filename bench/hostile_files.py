"""How much slower others are answered while files are read that are made to hurt.

A client asks the server for one short answer after the other; meanwhile nobody uploads, or somebody uploads hostile
files as fast as they are taken, or harmless ones.  The three take turns.  What is compared is the time of an answer,
round by round.  Most of the hostile files end in an error, which is what they should; how many were read or refused is
told.  The model is a small one, so that answers are short beside a file's reading.
"""

from __future__ import annotations

import http.client
import io
import json
import tempfile
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext

from bench import process, report
from bench.needles.prose import filler

MODEL = "smollm2-135m-instruct"
ROUND_S, QUICK_ROUND_S = 20.0, 3.0
ANSWER_TOKENS = 24
SLOWER_MAX = 1.2
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_BORDER = "a-border-that-no-file-has"


def hostile() -> Mapping[str, bytes]:
    """Files by name."""
    return {
        "bomb.docx": _word("<w:p><w:r><w:t>" + "a" * 4000 + "</w:t></w:r></w:p>", 70_000),
        "nested.docx": _word("<w:tbl><w:tr><w:tc>", 200_000, closed=False),
        "stream.pdf": _pdf(zlib.compress(b"0 0 m 9 9 l S\n" * 20_000_000, 9)),
        "loop.pdf": _pdf(zlib.compress(b""), count=1_000_000),
    }


def harmless() -> Mapping[str, bytes]:
    """A text as any other."""
    return {"text.txt": "".join(filler("en", 300_000, 1)).encode()}


def _word(block: str, times: int, closed: bool = True) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("word/document.xml", "w") as member:
        member.write(f'<?xml version="1.0"?><w:document xmlns:w="{_WORD}"><w:body>'.encode())
        for _ in range(times // 100):
            member.write(block.encode() * 100)
        member.write(b"</w:body></w:document>" if closed else b"")
    return out.getvalue()


def _pdf(stream: bytes, count: int = 1) -> bytes:
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count %d>>" % count,
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R>>",
        b"<</Filter/FlateDecode/Length %d>>stream\n%b\nendstream" % (len(stream), stream),
    ]
    out, places = b"%PDF-1.4\n", list[int]()
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%b endobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 5\n0000000000 65535 f \n"
    return out + head + table + b"trailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(out)


class Sender:
    """Uploads files, each one's bytes a little different, until it is stopped; counts what became of them."""

    def __init__(self, port: int, files: Mapping[str, bytes]) -> None:
        self._port, self._files, self._over = port, files, threading.Event()
        self.ended: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        number = 0
        while not self._over.is_set():
            for name, data in self._files.items():
                number += 1
                file = self._sent(connection, name, data + b"\n%d %d" % (id(self), number))
                while file["status"] == "processing" and not self._over.wait(0.1):
                    file = _asked(connection, "GET", f"/compatible-mode/v1/files/{file['id']}")
                self.ended[file["status"]] += 1
                _asked(connection, "DELETE", f"/compatible-mode/v1/files/{file['id']}")
                if self._over.is_set():
                    break
        connection.close()

    def _sent(self, connection: http.client.HTTPConnection, name: str, data: bytes) -> dict[str, str]:
        head = (
            f'--{_BORDER}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfile-extract\r\n'
            f'--{_BORDER}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        )
        body = head.encode() + data + f"\r\n--{_BORDER}--\r\n".encode()
        kind = f"multipart/form-data; boundary={_BORDER}"
        return _asked(connection, "POST", "/compatible-mode/v1/files", body, kind)


def _asked(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"", kind: str = "application/json"
) -> dict[str, str]:
    connection.request(method, path, body, {"Authorization": f"Bearer {process.KEY}", "Content-Type": kind})
    response = connection.getresponse()
    data = response.read()
    if response.status != 200:
        raise SystemExit(f"{method} {path}: {response.status} {data.decode()}")
    return dict(json.loads(data))


def answers(port: int, seconds: float) -> list[float]:
    """How long each took, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    until, times = time.monotonic() + seconds, list[float]()
    while time.monotonic() < until or not times:
        content = f"Tell me a story of the number {len(times)}."
        asked = {"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": ANSWER_TOKENS}
        begun = time.perf_counter()
        _asked(connection, "POST", "/compatible-mode/v1/chat/completions", json.dumps(asked).encode())
        times.append(time.perf_counter() - begun)
    connection.close()
    return times


def measure(rounds: int, seconds: float) -> str:
    """The table."""
    kinds: dict[str, Callable[[], Mapping[str, bytes]] | None] = {
        "nobody": None,
        "harmless files": harmless,
        "hostile files": hostile,
    }
    files = {name: made() if made else {} for name, made in kinds.items()}
    times: dict[str, list[float]] = {name: [] for name in kinds}
    ended: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    with tempfile.TemporaryDirectory() as folder:
        port = process.free_port()
        env = {"SEGUE_FILES_DIR": f"{folder}/files", "SEGUE_ENGINE_SNAPSHOTS_DIR": f"{folder}/snapshots"}
        env |= {"SEGUE_FILES_UPLOADS_PER_S": "0", "SEGUE_FILES_CALLS_PER_S": "0"}
        with process.server(process.segue(port, MODEL), port, "/readyz", env=env):
            answers(port, 1.0)
            for _ in range(rounds):
                for name in kinds:
                    with Sender(port, files[name]) if files[name] else nullcontext() as sender:
                        taken = answers(port, seconds)
                    times[name].append(report.percentile(taken, 0.5))
                    ended[name] += sender.ended if sender else Counter()
    rows = []
    for name in kinds:
        ratio = report.ratios(times[name], times["nobody"])
        row = [name, report.spread([each * 1000 for each in times[name]]).text(0), ratio.text(), ""]
        row += [report.met(ratio.median, most=SLOWER_MAX)] if name == "hostile files" else [""]
        row[3] = f"<= {SLOWER_MAX}" if name == "hostile files" else ""
        rows.append([*row, ", ".join(f"{count} {status}" for status, count in sorted(ended[name].items()))])
    head = ["beside it", "median of an answer, ms", "slower", "target", "", "files"]
    return report.table("One client's answers", head, rows)


def main() -> None:
    """Print the report."""
    options = report.parser(__doc__, rounds=3).parse_args()
    seconds = QUICK_ROUND_S if options.quick else ROUND_S
    print(report.heading("Hostile files beside answers", report.command("hostile_files", options)))
    print(measure(1 if options.quick else options.rounds, seconds))


if __name__ == "__main__":
    main()
