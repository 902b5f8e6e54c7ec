"""How a document might answer a question: a few sentences that the model makes up, for the search alone.

A search finds what is worded alike.  Who asks in other words than the document's, or in another language, finds little:
so the model is first asked how a document might put the answer.  What it says there is invented, but for the names,
and that does not matter: nobody is shown it.

Laws: one short generation a language of the documents, without chance and within its limits, remembered by question; in
the documents' language, whatever the question's; a question that is long says enough by itself; where the model does
not come to it in time, the search goes on without.  Knows no index and no template.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from segue.core import frozen
from segue.core.errors import PromptTooLong
from segue.core.request import Message, Request, Sampling

Script = Literal["han", "latin"]

QUESTION_CHARS_MAX, BEFORE_CHARS_MAX = 400, 200
FOLLOWS_CHARS_MAX = 80
"""A question no longer than this may lean on the one before it."""
REMEMBERED_MAX = 1024
HAN_SHARE, LATIN_SHARE = 0.1, 0.5
"""Of the letters of a text, from which on it has such a script."""

_NEXT = ("Question:", "问题：", "问题:")
"""A small model goes on with a question of its own."""
_MARKS = " -*\u2022.0123456789"

_FORM: dict[tuple[Script, bool], str] = {
    ("latin", False): """\
For each question, write three statements as they might stand in a document that answers it. Keep the names, say the \
rest in three different ways, invent the details. Write in the language of the question.

Question: When does the Harbour shop open?
- The Harbour shop opens at nine o'clock.
- The opening hours of the Harbour shop are 9 to 17.
- From 9:00 on, the doors of the Harbour shop are open to customers.

Question: What does Martin Holm do for a living?
- Martin Holm works as a carpenter.
- The occupation of Martin Holm is carpenter.
- Martin Holm makes his money by building furniture.

Question: {question}""",
    ("latin", True): """\
For each question, write three statements as they might stand in an English document that answers it. Translate the \
names, say the rest in three different ways, invent the details. Write only English.

Question: 海港商店几点开门？
- The Harbour shop opens at nine o'clock.
- The opening hours of the Harbour shop are 9 to 17.
- From 9:00 on, the doors of the Harbour shop are open to customers.

Question: 枫树剧院有多少个座位？
- The Maple theatre has 800 seats.
- The number of seats in the Maple theatre is 800.
- The Maple theatre has room for 800 spectators.

Question: {question}""",
    ("han", False): """\
请为每个问题写出三个陈述句，就像能回答它的文档中的原句。名称保持不变，其余内容用三种不同的说法，细节可以虚构。请用中文写。

问题：李静的母校是哪所学校？
- 李静毕业于第一中学。
- 李静在第一中学读过书。
- 李静曾是第一中学的学生。

问题：海港商店几点开门？
- 海港商店的营业时间为9点至17点。
- 海港商店九点开门。
- 从9:00起，顾客可以进入海港商店。

问题：王明靠什么谋生？
- 王明的职业是木匠。
- 王明在家具厂工作。
- 王明会做木工。

问题：{question}""",
    ("han", True): """\
请为每个问题写出三个陈述句，就像能回答它的中文文档中的原句。把名称译成中文，其余内容用三种不同的说法，细节可以虚构。只写中文。

问题：When does the Harbour shop open?
- 海港商店九点开门。
- 海港商店的营业时间为9点至17点。
- 从9:00起，顾客可以进入海港商店。

问题：How many seats has the Maple theatre?
- 枫树剧院有800个座位。
- 枫树剧院的座位数为800。
- 枫树剧院可容纳800名观众。

问题：{question}""",
}
"""By the documents' script, and whether the question has another."""


@frozen
class Limits:
    """`tokens_max` is how long the sentences of one language may become (0: none are asked for), `wait_s` how long
    they are waited for."""

    tokens_max: int = 72
    wait_s: float = 20.0


class Statements:
    """Asks for them, and remembers them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: OrderedDict[tuple[str, str, Script], str] = OrderedDict()

    async def about(
        self,
        request: Request,
        question: str,
        before: Sequence[str],
        sample: str,
        model: str,
        say: Callable[[Request, int], Awaitable[str]],
    ) -> str:
        """The sentences, "" for none.  `before` is what was asked before it, `sample` some of the documents' text,
        `model` who is asked by `say`."""
        asked = " ".join(question.split())
        if not self._limits.tokens_max or not asked or len(asked) > QUESTION_CHARS_MAX:
            return ""
        if before and len(asked) <= FOLLOWS_CHARS_MAX:
            asked = f"{' '.join(before[-1].split())[-BEFORE_CHARS_MAX:]} {asked}"
        spoken, found = scripts(asked), list[str]()
        with contextlib.suppress(TimeoutError, PromptTooLong):
            async with asyncio.timeout(self._limits.wait_s):
                for script in scripts(sample):
                    said = await self._said(request, asked, script, script not in spoken, model, say)
                    found.append(said)
        return " ".join(found)

    async def _said(
        self,
        request: Request,
        asked: str,
        script: Script,
        abroad: bool,
        model: str,
        say: Callable[[Request, int], Awaitable[str]],
    ) -> str:
        key = model, asked, script
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known
        turn = Message("user", _FORM[script, abroad].format(question=asked))
        alone = Request(request.id, request.caller, request.model, (turn,), sampling=Sampling(temperature=0.0))
        said = await say(alone, self._limits.tokens_max)
        lines = itertools.takewhile(lambda line: not line.startswith(_NEXT), said.strip().splitlines())
        text = " ".join(" ".join(line.lstrip(_MARKS) for line in lines).split())
        self._known[key] = text
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return text


def scripts(text: str) -> tuple[Script, ...]:
    """Those that much of a text is in; none of those that there are no words here for."""
    letters = [character for character in text if character.isalpha()]
    han = sum("\u3400" <= character <= "\u9fff" for character in letters)
    kana = sum("\u3040" <= character <= "\u30ff" for character in letters)
    latin = sum(character < "\u0250" for character in letters)
    found: list[Script] = []
    if han >= max(1, HAN_SHARE * len(letters)) and kana <= HAN_SHARE * han:
        found.append("han")
    if latin >= max(1, LATIN_SHARE * len(letters)):
        found.append("latin")
    return tuple(found)
