"""Who shares a part of a name with somebody else: 秦子涵 or 陈思琪 where 陈子涵 was asked for, Nadia Moreau for Felix.

To a search they are nearly the same, and to a small model, too: shown both, it takes the one's town for the other's.
A passage that speaks of namesakes alone is no answer, once there is one that speaks of whom was asked for.

Laws: a Chinese name is a family name of one character, of those that are no other word as well, and a given name of
two; any other is two capitalised words or more, of which a namesake shares the last (what shares the first may belong
to it: Apple Inc, Apple Watch); who is called by a part of the name alone may be the one, and one of the family may be
spoken of for his sake, who is "he" then; of every document something is left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from segue.retrieval.stops import ENGLISH
from segue.retrieval.words import read

FAMILY = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯董萧曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪"
    "田任姜范石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易武乔贺赖龚文"
)
_NAME = re.compile(f"[{FAMILY}][\u4e00-\u9fff]{{2}}")
_WORD = "[A-ZÀ-ÖØ-Þ][^\\W\\d_]+"
_CALLED = re.compile(f"\\b{_WORD}(?: {_WORD})+")
_NO_NAMES = frozenset([*ENGLISH.split(), "mr", "mrs", "ms", "dr", "prof", "professor", "sir", "president"])
_HE = re.compile("[他她其]|\\b(?:he|him|his|she|her|hers|they|them|their)\\b", re.IGNORECASE)


def named(question: str) -> frozenset[str]:
    """The names in a question: Chinese ones that no dictionary knows as words, and capitalised ones."""
    return _chinese(question) | {name for found in _CALLED.findall(question) if " " in (name := _called(found))}


def others(names: frozenset[str], passages: Sequence[tuple[int, str]]) -> list[bool]:
    """Which of the passages, each with its document, are about namesakes alone."""
    asked = [any(name in text for name in names) for _, text in passages]
    if not any(asked):
        return [False] * len(passages)
    found = []
    for mine, (_, text) in zip(asked, passages, strict=True):
        met = set() if mine else {_of_another(name, names, text) for name in names}
        found.append(True in met and False not in met)
    left = {document for other, (document, _) in zip(found, passages, strict=True) if not other}
    return [other and document in left for other, (document, _) in zip(found, passages, strict=True)]


def _chinese(text: str) -> frozenset[str]:
    if not _NAME.search(text) and text.isascii():
        return frozenset()
    reading = read([" ".join(text.split())]).reading
    starts, ends = reading.spans.starts.tolist(), reading.spans.ends.tolist()
    parts = {start: end - start for start, end in zip(starts, ends, strict=True)}
    text = reading.codes.tobytes().decode("utf-32-le")
    return frozenset(
        text[at : at + 3]
        for at, length in parts.items()
        if length == 1 and _NAME.match(text, at) and (parts.get(at + 1), parts.get(at + 2)) in ((1, 1), (2, None))
    )


def _called(run: str) -> str:
    """Capitalised words without those before them that begin a sentence, or are a title."""
    words = run.split()
    while words and words[0].lower() in _NO_NAMES:
        del words[0]
    return " ".join(words)


def _of_another(name: str, names: frozenset[str], text: str) -> bool | None:
    """Whether a text that does not have the name speaks of a namesake; False where perhaps of whom has it, None of
    neither."""
    if _NAME.match(name):
        family, given = name[0], name[1:]
        if given in text:
            return re.search(f"[{FAMILY}]{given}", text) is not None
        if family not in text or not any(each[0] == family for each in _chinese(text) - names):
            return None
        return _HE.search(text) is None
    first, last = name.split()[0], name.split()[-1]
    runs = [found for found in map(_called, _CALLED.findall(text)) if " " in found]
    others = [found for found in runs if found.split()[-1] == last]
    for found in runs:
        text = text.replace(found, "")
    if re.search(rf"\b(?:{re.escape(first)}|{re.escape(last)})\b", text):
        return False
    return (_HE.search(text) is None) if others else None
