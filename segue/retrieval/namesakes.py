"""Who has the given name of somebody else: 秦子涵 where 陈子涵 was asked for.

To a search the two are nearly the same, and to a small model, too: shown both, it takes the one's town for the other's.
A passage that speaks of a namesake alone is no answer, once there is one that speaks of whom was asked for.

Laws: a name is a family name of one character, of those that are no other word as well, and a given name of two; who is
called by the given name alone may be the one; of every document something is left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from segue.retrieval.words import read

FAMILY = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯董萧曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪"
    "田任姜范石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易武乔贺赖龚文"
)
_NAME = re.compile(f"[{FAMILY}][\u4e00-\u9fff]{{2}}")


def named(question: str) -> frozenset[str]:
    """The names in a question that no dictionary knows as words."""
    reading = read([" ".join(question.split())]).reading
    starts, ends = reading.spans.starts.tolist(), reading.spans.ends.tolist()
    parts = {start: end - start for start, end in zip(starts, ends, strict=True)}
    text = reading.codes.tobytes().decode("utf-32-le")
    return frozenset(
        text[at : at + 3]
        for at, length in parts.items()
        if length == 1 and _NAME.match(text, at) and (parts.get(at + 1), parts.get(at + 2)) in ((1, 1), (2, None))
    )


def others(names: frozenset[str], passages: Sequence[tuple[int, str]]) -> list[bool]:
    """Which of the passages, each with its document, are about namesakes alone."""
    asked = [any(name in text for name in names) for _, text in passages]
    if not any(asked):
        return [False] * len(passages)
    pattern = re.compile(f"[{FAMILY}](?:{'|'.join(sorted({name[1:] for name in names}))})")
    found = [not mine and pattern.search(text) is not None for mine, (_, text) in zip(asked, passages, strict=True)]
    left = {document for other, (document, _) in zip(found, passages, strict=True) if not other}
    return [other and document in left for other, (document, _) in zip(found, passages, strict=True)]
