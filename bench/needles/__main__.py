"""Asks a running server for sentences that are hidden in a long text, and counts the right answers.

    python -m bench.needles --server http://127.0.0.1:8000 KEY --tokens 128000 --language zh
    python -m bench.needles --write FOLDER --tokens 1000000

The text is uploaded as a file and asked about with the openai client, which this needs.  With `--write` the text and
its questions are written instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

from bench import report
from bench.needles.plant import Haystack, Needle, haystack
from bench.needles.prose import Language

BYTES_A_TOKEN = 3.8
PARSE_WAIT_S = 600
MODEL = "qwen-long"


def right(needle: Needle, answer: str) -> bool:
    """Has it one spelling of everything that was asked for?"""
    said = answer.lower().replace(",", "")
    return all(any(each.lower() in said for each in spellings) for spellings in needle.answers)


def asked(hidden: Haystack, base: str, key: str) -> dict[str, list[tuple[bool, float]]]:
    """For each kind: was the answer right, and how many seconds did it take?"""
    from openai import OpenAI

    client = OpenAI(base_url=f"{base.rstrip('/')}/compatible-mode/v1", api_key=key)
    file = client.files.create(file=("haystack.txt", hidden.text), purpose="file-extract")  # type: ignore[arg-type]
    try:
        deadline = time.monotonic() + PARSE_WAIT_S
        while (status := client.files.retrieve(file.id).status) != "processed":
            if status == "error" or time.monotonic() > deadline:
                raise SystemExit(f"the file was not read: {status}")
            time.sleep(1)
        seen: dict[str, list[tuple[bool, float]]] = defaultdict(list)
        for needle in hidden.needles:
            begun = time.monotonic()
            answer = client.chat.completions.create(
                model=MODEL,
                messages=[
                    {"role": "system", "content": "You are a helpful assistant."},
                    {"role": "system", "content": f"fileid://{file.id}"},
                    {"role": "user", "content": needle.question},
                ],
                max_tokens=200,
                temperature=0,
            )
            text = answer.choices[0].message.content or ""
            seen[needle.kind].append((right(needle, text), time.monotonic() - begun))
        return seen
    finally:
        client.files.delete(file.id)


def written(hidden: Haystack, folder: Path) -> None:
    """The text and its questions as files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "haystack.txt").write_bytes(hidden.text)
    rows = [
        {"kind": each.kind, "question": each.question, "answers": each.answers, "spans": each.spans}
        for each in hidden.needles
    ]
    (folder / "questions.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")


def main() -> int:
    """0 when all was asked, whatever was answered."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", nargs=2, metavar=("BASE", "KEY"), help="where to ask")
    options.add_argument("--write", type=Path, metavar="FOLDER", help="where to write the text and its questions")
    options.add_argument("--language", choices=("en", "zh"), default="en")
    options.add_argument("--tokens", type=int, default=128_000, help="about so many (128000)")
    options.add_argument("--needles", type=int, default=12, help="of the first kinds; the others follow (12)")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    language: Language = given.language
    hidden = haystack(language, int(given.tokens * BYTES_A_TOKEN), given.seed, given.needles)
    if given.write:
        written(hidden, given.write)
    if given.server:
        seen = asked(hidden, *given.server)
        rows = [
            [kind, f"{sum(ok for ok, _ in each)} of {len(each)}", f"{report.percentile([s for _, s in each], 0.5):.1f}"]
            for kind, each in seen.items()
        ]
        title = f"Right answers over about {given.tokens} tokens, {language}"
        print(report.table(title, ["kind", "right", "median s"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
