"""A question as a search understands it: which words to look for, and whether it is about a document as a whole.

Laws: no model is asked; a question that only has words which every question has looks for nothing of its own, and what
was asked before helps it out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segue.retrieval.lines import sentences
from segue.retrieval.names import named
from segue.retrieval.stops import stop_hashes
from segue.retrieval.words import read

OWN_WORDS_MIN = 3
"""A question with fewer words of its own leans on what was asked before."""
HISTORY_MAX, HISTORY_WEIGHT = 2, 0.4
QUESTION_CHARACTERS_MAX = 4000
DETAILS_MAX = 2
"""Words of its own that a question about a whole document may have beside those that ask for the whole."""
TERMS_MAX, TEXT_CHARACTERS_MAX = 96, 1000
"""Of a long question, what is looked for, and what a vector is made of: its end."""
NAME_WEIGHT = 1.6
"""What a word says that is written like a name: large inside a sentence, or with a digit."""

LETTER = r"[^\W_\u3400-\u9fff]"
"""Chinese text has no blanks around words of other letters."""
_NAME = re.compile(rf"(?<![.!?:\n] )(?<!^)(?<!{LETTER})(?:[A-Z]{LETTER}+|{LETTER}*[0-9]{LETTER}*)")
_NUMBER = re.compile(rf"(?<!{LETTER})[0-9]+(?!{LETTER})")
_HAN = re.compile("[\u3400-\u9fff]")
_BACK = re.compile(
    r"\b(?:it|its|they|them|their|he|him|his|she|her|this|that|these|those|there|then|former|latter|same)\b"
    r"|[它他她]|这|那|該|该|此|前者|后者|後者|上述|其中|這",
    re.IGNORECASE,
)
_COMPARES = re.compile(
    r"\b(?:compar\w*|differ\w*|contrast\w*|versus|vs|both|each|respectively|in common|similarit\w*)\b"
    r"|比较|比較|对比|對比|区别|區別|差异|差異|不同|异同|異同|相同|共同|分别|分別|各自|每[个個篇份本]|[两兩二三][者篇份个個本]",
    re.IGNORECASE,
)
_STRUCTURE = re.compile(
    r"\b(?:chapters?|sections?|outline|structure|table of contents|toc|headings?|sheets?|parts?)\b"
    r"|几章|幾章|多少章|章节|章節|目录|目錄|大纲|大綱|结构|結構|提纲|提綱|几个部分|幾個部分|几节|幾節",
    re.IGNORECASE,
)
_THING = (
    r"(?:documents?|files?|articles?|papers?|texts?|books?|reports?|pdfs?|stor(?:y|ies)|essays?|novels?|manuals?|"
    r"contracts?|attachments?|content|above|following|it|this|these|them|all)"
)
_WHOLE = re.compile(
    r"\b(?:summari[sz]e|summar(?:y|ies)|overview|gist|tl;?dr|recap|abstract of|takeaways?|outline|synopsis"
    r"|key (?:points?|takeaways?|ideas?|messages?)"
    r"|main (?:points?|ideas?|topics?|themes?|arguments?|content|message|conclusions?|findings?))\b"
    rf"|\bwhat(?:'s| is| are| does| do)\b.{{0,40}}\b{_THING}\b.{{0,20}}\b(?:about|contain|cover|say|discuss|describe)\b"
    rf"|\bwhat(?:'s| is| are)\b.{{0,30}}\bin (?:the|this|these|my) {_THING}\b"
    r"|\b(?:describe|explain|review|analy[sz]e|translate|introduce)\s+(?:the|this|these|both|all|each|my)?\s*"
    rf"(?:two\s+)?{_THING}\s*[.?!]*$"
    rf"|\bcompare\s+(?:the|these|both|all|my)?\s*(?:two|three|\d+)?\s*{_THING}\b"
    rf"|\bhow many (?:chapters|sections|parts|pages|words|sheets)\b|\btable of contents\b",
    re.IGNORECASE,
)
_ZH_THING = (
    "(?:文章|文档|文檔|文件|文本|论文|論文|报告|報告|书|書|小说|小說|材料|资料|資料|内容|內容|附件|合同|手册|手冊"
    "|故事|全文|它|这|這|篇)"
)
_ZH_WHOLE = re.compile(
    "总结|總結|概括|概述|概要|摘要|归纳|歸納|提炼|提煉|梳理|大意|主旨|中心思想|主要内容|主要內容|主要观点|主要觀點"
    "|要点|要點|大纲|大綱|提纲|提綱|目录|目錄|章节结构|章節結構"
    f"|{_ZH_THING}[^，。？?]{{0,8}}(?:讲|講|说|說|写|寫|介绍|介紹|讨论|討論|关于|關於|描述|谈|談)"
    "[^，。？?]{0,6}(?:什么|什麼|啥|哪些)"
    "|(?:介绍|介紹|分析|解读|解讀|说说|說說|评价|評價|翻译|翻譯)(?:一下)?(?:这|這|该|該|上述|以上)?[些个個篇份本部]?"
    f"(?:两篇|兩篇)?{_ZH_THING}[。？?！!\\s]*$"
    "|(?:比较|比較|对比|對比)(?:一下)?[这這][^，。？?]{0,4}"
    "(?:文章|文档|文檔|文件|论文|論文|报告|報告|书|書)"
    "|(?:几|幾|多少)(?:章|节|節|个章节|個章節|个部分|個部分|页|頁|个字|個字|字)"
)


@dataclass(frozen=True, slots=True)
class Question:
    """Words to look for, each once, and how much each says; `text` is what a vector is made of."""

    terms: tuple[int, ...]
    weights: tuple[float, ...]
    text: str
    compares: bool


def understood(question: str, history: Sequence[str] = (), statements: str = "") -> Question:
    """What to look for.  `history` is what was asked before, oldest first; `statements` is how a text may put the
    answer."""
    question = question[-QUESTION_CHARACTERS_MAX:]
    terms, text = _content(question, 1.0), question
    own = sum(weight >= 1.0 for weight in terms.values())
    if history and (own < OWN_WORDS_MIN or (own < 2 * OWN_WORDS_MIN and _BACK.search(question))):
        for age, earlier in enumerate(reversed(history[-HISTORY_MAX:])):
            for term, weight in _content(earlier[-QUESTION_CHARACTERS_MAX:], HISTORY_WEIGHT / (1 + age)).items():
                terms[term] = max(terms.get(term, 0.0), weight)
        text = f"{history[-1][-TEXT_CHARACTERS_MAX // 2 :]} {question}"
    if statements := _uninvented(question, statements):
        # Which numbers they made up leads nowhere, but that they are numbers does.
        for term, weight in _content(_NUMBER.sub(" ", statements[-QUESTION_CHARACTERS_MAX:]), 1.0).items():
            terms[term] = max(terms.get(term, 0.0), weight)
        text = f"{text[-TEXT_CHARACTERS_MAX // 2 :]} {statements[: TEXT_CHARACTERS_MAX // 2]}"
    best = sorted(terms.items(), key=lambda item: -item[1])[:TERMS_MAX]
    compares = _COMPARES.search(question) is not None
    terms_of, weights = tuple(term for term, _ in best), tuple(weight for _, weight in best)
    return Question(terms_of, weights, text[-TEXT_CHARACTERS_MAX:], compares)


def wants_whole(question: str, history: Sequence[str] = ()) -> bool:
    """Is it about documents as wholes, so that no passage of theirs could answer it?"""
    question = question.strip()[-QUESTION_CHARACTERS_MAX:]
    if not _content(question, 1.0):
        return wants_whole(history[-1]) if history else True
    rest, whole = _WHOLE.subn(" ", question)
    rest, also = _ZH_WHOLE.subn(" ", rest)
    # "Summarise what it says about early termination" is about early termination.
    return whole + also > 0 and sum(weight >= 1.0 for weight in _content(rest, 1.0).values()) <= DETAILS_MAX


def foreign(text: str, question: str) -> bool:
    """Is one of them in Chinese and the other not?"""
    return (_HAN.search(text) is None) != (_HAN.search(question) is None)


def wants_structure(question: str) -> bool:
    """Is it about how a document is divided?"""
    return _STRUCTURE.search(question) is not None


def names(text: str) -> frozenset[int]:
    """The words of a question that are written like names."""
    found = read(_NAME.findall(text))
    return frozenset(found.hashes[~np.isin(found.hashes, stop_hashes())].tolist())


def _uninvented(question: str, statements: str) -> str:
    """The statements without the names that they made up: those lead to what was not asked for.  A name in another
    language than the question's may be one that it asks for."""
    asked, kept = question.lower(), list[str]()
    for _, said in sentences(statements):
        if not foreign(said, question):
            for name in named(said):
                said = said if name.lower() in asked else said.replace(name, " ")
            said = _NAME.sub(lambda found: found[0] if found[0].isdecimal() or found[0].lower() in asked else " ", said)
        kept.append(said)
    return " ".join(kept)


def _content(text: str, weight: float) -> dict[int, float]:
    """The words that are not those of any question."""
    text = " ".join(text.split())
    words, called = read([text]), names(text)
    said = ~np.isin(words.hashes, stop_hashes())
    found: dict[int, float] = {}
    for term, own in zip(words.hashes[said].tolist(), words.weights[said].tolist(), strict=True):
        own *= weight * (NAME_WEIGHT if term in called else 1.0)
        found[term] = max(found.get(term, 0.0), own)
    return found
