"""Asks a server for sentences that are hidden in a long text, and counts the right answers.

    python -m bench.needles --tokens 10000000 --kinds literal,reworded
    python -m bench.needles --server http://127.0.0.1:8000 KEY --tokens 128000 --languages zh
    python -m bench.needles --write FOLDER --tokens 1000000

The text is uploaded as a file and asked about with the openai client, which this needs.  Without `--server` one is
started, with the model that `--model` names and files and snapshots of its own.  An answer is right when it has what
was asked for; it was read when the sentence was whole among the passages that the model was given.  With `--write` the
text and its questions are written instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import asking, report
from bench.needles.plant import KINDS, MENTIONS, Haystack, Needle, haystack
from bench.needles.prose import Language

BYTES_A_TOKEN = 3.8
RIGHT_MIN = 0.95


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question."""

    needle: Needle
    text: str
    read: bool
    first_s: float

    @property
    def right(self) -> bool:
        """Has it one spelling of everything that was asked for?"""
        said = self.text.lower().replace(",", "")
        return all(any(each.lower() in said for each in spellings) for spellings in self.needle.answers)


def asked(
    hidden: Haystack, kinds: Sequence[str], per: int, together: int, base: str, key: str, told: Callable[[Answer], None]
) -> dict[str, list[Answer]]:
    """The answers, by kind; at most `per` of each, `together` at a time."""
    wanted = [each for kind in kinds for each in [some for some in hidden.needles if some.kind == kind][:per]]
    seen: dict[str, list[Answer]] = defaultdict(list)
    with asking.uploaded(("haystack.txt", hidden.text), base, key) as ask, ThreadPoolExecutor(together) as pool:
        for answer in pool.map(lambda needle: _answer(ask, needle), wanted):
            seen[answer.needle.kind].append(answer)
            told(answer)
    return seen


def _answer(ask: Callable[[str], asking.Said], needle: Needle) -> Answer:
    said = ask(needle.question)
    spans = [(each["start"], each["end"]) for each in said.read]
    whole = all(any(low <= start and end <= high for low, high in spans) for start, end in needle.spans)
    return Answer(needle, said.text, whole, said.first_s)


def written(hidden: Haystack, folder: Path) -> None:
    """The text and its questions as files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "haystack.txt").write_bytes(hidden.text)
    rows = [
        {"kind": each.kind, "question": each.question, "answers": each.answers, "spans": each.spans}
        for each in hidden.needles
    ]
    (folder / "questions.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")


def table(title: str, seen: dict[str, list[Answer]]) -> str:
    """Kinds by what came of them."""
    rows = []
    for kind, answers in seen.items():
        right, read = sum(each.right for each in answers), sum(each.read for each in answers)
        of_read = sum(each.right for each in answers if each.read)
        row = [kind, f"{right} of {len(answers)}", f"{read} of {len(answers)}", f"{of_read} of {read}"]
        row.append(f"{report.percentile([each.first_s for each in answers], 0.5):.1f}")
        wanted = kind in ("literal", "reworded")
        row += [f">= {RIGHT_MIN:.0%}", report.met(right / len(answers), least=RIGHT_MIN)] if wanted else ["", ""]
        rows.append(row)
    return report.table(title, ["kind", "right", "read", "right of read", "first token s", "target", ""], rows)


def main() -> int:
    """0 when all was asked, whatever was answered."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", nargs=2, metavar=("BASE", "KEY"), help="where to ask; else one is started")
    options.add_argument("--model", default="qwen2.5-coder-1.5b-instruct", help="what that one serves")
    options.add_argument("--write", type=Path, metavar="FOLDER", help="where to write the text and its questions")
    options.add_argument("--languages", default="en,zh", help="of the text, one after the other (en,zh)")
    options.add_argument("--kinds", default=",".join(KINDS), help="of the questions (all)")
    options.add_argument("--per", type=int, default=12, help="questions of each kind, at most (12)")
    options.add_argument("--together", type=int, default=1, help="questions asked at a time (1)")
    options.add_argument("--tokens", type=int, default=128_000, help="about so many (128000)")
    options.add_argument("--needles", type=int, default=24, help="of the first kinds; the others follow (24)")
    options.add_argument(
        "--mentions",
        type=int,
        default=MENTIONS,
        help=f"sentences that have the name of a crowded needle, and no answer ({MENTIONS})",
    )
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--whole", type=int, default=0, help="longest text given to the model whole (0: what fits)")
    options.add_argument("--wrong", action="store_true", help="tell every wrong answer on standard error")
    given = options.parse_args()
    languages: list[Language] = given.languages.split(",")
    size = int(given.tokens * BYTES_A_TOKEN)
    hidden = {each: haystack(each, size, given.seed, given.needles, given.mentions) for each in languages}
    if given.write:
        for language, each in hidden.items():
            written(each, given.write / language)
        return 0

    def told(answer: Answer) -> None:
        if given.wrong and not answer.right:
            said = [answer.needle.kind, answer.needle.question, answer.text, answer.needle.answers, answer.read]
            print(json.dumps(said, ensure_ascii=False), file=sys.stderr, flush=True)

    def measured(base: str, key: str) -> None:
        command = "python -m bench.needles " + " ".join(sys.argv[1:] if not given.server else ["--server BASE KEY"])
        print(report.heading("Right answers about hidden sentences", command))
        for language, each in hidden.items():
            seen = asked(each, given.kinds.split(","), given.per, given.together, base, key, told)
            title = f"About {given.tokens} tokens, {language}, seed {given.seed}"
            print(table(title, seen), flush=True)

    if given.server:
        measured(*given.server)
    else:
        with asking.served(given.model, given.whole) as where:
            measured(*where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
