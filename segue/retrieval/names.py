"""The full names in a question: 陈子涵, Felix Moreau, European Commission.

Laws: a Chinese name is a family name of one character, of those that are no other word as well, and a given name of
two; any other is two capitalised words or more, without those that begin a sentence, or are a title.
"""

from __future__ import annotations

import re

from segue.retrieval.stops import ENGLISH
from segue.retrieval.words import FUNCTION, read

FAMILY = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯董萧曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪"
    "田任姜范石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易武乔贺赖龚文"
)
_NAME = re.compile(f"[{FAMILY}][\u4e00-\u9fff]{{2}}")
_WORD = "[A-ZÀ-ÖØ-Þ][^\\W\\d_]+"
_CALLED = re.compile(f"\\b{_WORD}(?: {_WORD})+")
_NO_NAMES = frozenset([*ENGLISH.split(), "mr", "mrs", "ms", "dr", "prof", "professor", "sir", "president"])


def named(question: str) -> frozenset[str]:
    """The names in a question: Chinese ones that no dictionary knows as words, and capitalised ones."""
    return _chinese(question) | {name for found in _CALLED.findall(question) if " " in (name := _called(found))}


def _chinese(text: str) -> frozenset[str]:
    if not _NAME.search(text) and text.isascii():
        return frozenset()
    reading = read([" ".join(text.split())]).reading
    starts, ends = reading.spans.starts.tolist(), reading.spans.ends.tolist()
    parts = {start: end - start for start, end in zip(starts, ends, strict=True)}
    text, bound = reading.codes.tobytes().decode("utf-32-le"), set(map(chr, FUNCTION.tolist()))
    return frozenset(
        text[at : at + 3]
        for at, length in parts.items()
        if length == 1
        and _NAME.match(text, at)
        and (parts.get(at + 1), parts.get(at + 2)) in ((1, 1), (2, None))
        and not bound.intersection(text[at + 1 : at + 3])
    )


def _called(run: str) -> str:
    """Capitalised words without those before them that begin a sentence, or are a title."""
    words = run.split()
    while words and words[0].lower() in _NO_NAMES:
        del words[0]
    return " ".join(words)
