"""Text to hide things in, of any length, the same for the same seed: no data set is needed or kept.

English is prose from a grammar and the sources of Python's standard library, docstrings and all, as this machine has
them; Chinese is prose from a grammar.  The grammars use the words that the hidden sentences and their questions use,
so that those words are nothing rare.
"""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Language = Literal["en", "zh"]


def _banks() -> dict[str, list[str]]:
    """The lists of `words.txt`, by name."""
    found: dict[str, list[str]] = {}
    bank = found.setdefault("", [])
    for line in Path(__file__).with_name("words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            bank = found.setdefault(line.strip("[]"), [])
        elif line:
            bank += line.split(" | ")
    return found


BANKS = _banks()


def clause(language: Language, who: str, dice: random.Random) -> str:
    """Somebody did something, without a mark at its end."""
    did, what, when = (dice.choice(BANKS[f"{language} {name}"]) for name in ("did", "what", "when"))
    return f"{who} {did} {what} {when}" if language == "en" else f"{who}{when}{did}{what}"


def sentence(language: Language, dice: random.Random) -> str:
    """One sentence, with a number in some."""
    words = clause(language, dice.choice(BANKS[f"{language} who"]), dice)
    shape, link, why = dice.random(), dice.choice(BANKS[f"{language} link"]), dice.choice(BANKS[f"{language} why"])
    comma, number = ("，", "（编号{}）") if language == "zh" else (", ", " (item {})")
    if 0.3 < shape < 0.45:
        words += number.format(dice.randrange(10, 99999))
    if shape < 0.2:
        words = link + comma + words
    if shape > 0.5:
        words += comma + why
    return words + "。" if language == "zh" else words[0].upper() + words[1:] + "."


def prose(language: Language, dice: random.Random) -> Iterator[str]:
    """Sentences without end, each with what stands behind it."""
    while True:
        for left in range(dice.randrange(2, 8), 0, -1):
            end = ("" if language == "zh" else " ") if left > 1 else "\n\n" if language == "en" else "\n"
            yield sentence(language, dice) + end


def library(dice: random.Random) -> Iterator[str]:
    """The sources of the standard library, line by line, file after file in a shuffled order; then it ends."""
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    dice.shuffle(files)
    for path in files:
        try:
            yield from path.read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError):
            continue


def filler(language: Language, size: int, seed: int) -> list[str]:
    """Pieces of text, `size` bytes together or a little more, between which something can be hidden."""
    dice = random.Random(f"filler {language} {seed}")
    sources = [prose(language, dice), library(dice)]
    found, length = list[str](), 0
    real = 0.5 if language == "en" else 0.15
    while length < size:
        source = sources[dice.random() < real]
        stretch = 0
        for piece in source:
            found.append(piece)
            stretch += len(piece.encode())
            if stretch >= 4000 and piece.endswith("\n"):
                break
        if not stretch:
            real = 0.0
        length += stretch
    return found
