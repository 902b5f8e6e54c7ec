"""Are questions about real manuals answered, by the served model?

    python -m bench.manuals
    python -m bench.manuals --server http://127.0.0.1:8000 KEY --wrong

Debian's developers' reference and FAQ (English), its reference and the maintainers' guide (Chinese), as PDF: each is
longer than the default model's window, speaks of one thing throughout, and has tables, lists and page headers.  The
questions were written from its paragraphs, in other words where that came naturally.  The evidence was read when
some passage that the model was given has it; an answer is right when it has one of the wanted spellings.  Blanks do
not count, for PDFs have them anywhere.  The files are fetched by apt into a temporary folder (or `--folder`, which
keeps them).
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import asking, report

PACKAGES = {
    "developers-reference": "developers-reference.pdf",
    "debian-faq": "debian-faq.en.pdf",
    "debian-reference-zh-cn": "debian-reference.zh-cn.pdf",
    "maint-guide-zh-cn": "maint-guide.zh-cn.pdf",
}
FETCH_S = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question."""

    question: str
    text: str
    read: bool
    right: bool
    first_s: float


def fetched(folder: Path) -> Iterator[Path]:
    """The files, and what is there already is not fetched again."""
    for package, name in PACKAGES.items():
        path = folder / name
        if not path.exists():
            subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True, timeout=FETCH_S)
            archive = next(folder.glob(f"{package}_*.deb"))
            unpacked = folder / package
            subprocess.run(["dpkg-deb", "-x", str(archive), str(unpacked)], check=True, timeout=FETCH_S)
            found = next(each for each in sorted(unpacked.rglob(f"{name}*")) if not each.is_symlink())
            data = found.read_bytes()
            path.write_bytes(gzip.decompress(data) if found.suffix == ".gz" else data)
        yield path


def squeezed(text: str) -> str:
    """In small letters, without blanks."""
    return "".join(text.split()).lower()


def has(text: str, wanted: Sequence[str]) -> bool:
    """Has it one of them?"""
    said = squeezed(text)
    return any(squeezed(each) in said for each in wanted)


def asked(path: Path, rows: Sequence[dict[str, Any]], base: str, key: str) -> list[Answer]:
    """The answers to all questions about one file."""
    with asking.uploaded(path, base, key) as ask:
        return [_answer(ask, row) for row in rows]


def _answer(ask: Callable[[str], asking.Said], row: dict[str, Any]) -> Answer:
    said = ask(row["question"])
    found = any(has(each.get("text") or "", row["evidence"]) for each in said.read)
    return Answer(row["question"], said.text, found, has(said.text, row["answers"]), said.first_s)


def main() -> int:
    """0 when all was asked, whatever was answered."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", nargs=2, metavar=("BASE", "KEY"), help="where to ask; else one is started")
    options.add_argument("--model", default="qwen2.5-coder-1.5b-instruct", help="what that one serves")
    options.add_argument("--folder", type=Path, help="keep what is fetched here, and use what is there")
    options.add_argument("--wrong", action="store_true", help="tell every wrong answer on standard error")
    given = options.parse_args()
    questions = json.loads(Path(__file__).with_name("questions.json").read_text(encoding="utf-8"))
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        paths = list(fetched(folder))
        base, key = given.server or stack.enter_context(asking.served(given.model))
        print(report.heading("Right answers about real manuals", "python -m bench.manuals"))
        rows, seen = list[list[str]](), list[Answer]()
        for path in paths:
            answers = asked(path, questions[path.name], base, key)
            seen += answers
            rows.append(row(path.name, answers))
            for each in answers if given.wrong else []:
                if not each.right:
                    said = [path.name, each.question, each.text, each.read]
                    print(json.dumps(said, ensure_ascii=False), file=sys.stderr, flush=True)
        rows.append(row("all", seen))
        print(report.table("By file", ["file", "right", "read", "right of read", "first token s"], rows))
    return 0


def row(name: str, answers: Sequence[Answer]) -> list[str]:
    """What came of one file's questions."""
    right, read = sum(each.right for each in answers), sum(each.read for each in answers)
    of_read = sum(each.right for each in answers if each.read)
    first = report.percentile([each.first_s for each in answers], 0.5)
    return [name, f"{right} of {len(answers)}", f"{read} of {len(answers)}", f"{of_read} of {read}", f"{first:.1f}"]


if __name__ == "__main__":
    sys.exit(main())
