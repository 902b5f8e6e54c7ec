"""Haystacks: a filler with sentences hidden in it, and the questions that only these answer.

Kinds:
    literal     the question uses the sentence's own words
    reworded    it says the same in other words; only the name is the same
    crowded     so does this one, and `MENTIONS` sentences of the filler's kind mention the name
    apart       the name is in one sentence, what is asked for in the next, where the name is a pronoun
    crossed     it asks in the other language, but for the name
    translated  it asks in the other language, the name translated
    several     four sentences answer it, all of which are wanted
    counted     five to nine do, and their number is asked for

Every sentence has siblings that are no answer: the same said of people and places whose names differ in one word, and
other things said of the same name.

Laws: the same language, size and seed give the same haystack; needles stand at evenly spread depths.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Literal

from bench.needles.prose import BANKS, Language, clause, filler

Kind = Literal["literal", "reworded", "crowded", "apart", "crossed", "translated", "several", "counted"]
KINDS: tuple[Kind, ...] = ("literal", "reworded", "crowded", "apart", "crossed", "translated", "several", "counted")
MENTIONS, SIBLINGS_PART = 30, 4

FRUITS = [
    ("mangoes", "芒果"),
    ("figs", "无花果"),
    ("apricots", "杏子"),
    ("papayas", "木瓜"),
    ("cherries", "樱桃"),
    ("plums", "李子"),
]
FOODS = [
    ("peanuts", "花生"),
    ("shellfish", "贝类"),
    ("sesame", "芝麻"),
    ("celery", "芹菜"),
    ("walnuts", "核桃"),
    ("mustard", "芥末"),
]
COLOURS = [("purple", "紫"), ("orange", "橙"), ("turquoise", "青"), ("silver", "银"), ("brown", "棕"), ("pink", "粉红")]
CITIES = [
    ("Lisbon", "里斯本"),
    ("Tromso", "特罗姆瑟"),
    ("Valparaiso", "瓦尔帕莱索"),
    ("Izmir", "伊兹密尔"),
    ("Cork", "科克"),
]
TUNES = [("cello", "大提琴"), ("oboe", "双簧管"), ("harp", "竖琴"), ("trumpet", "小号"), ("banjo", "班卓琴")]


@dataclass(frozen=True, slots=True)
class Relation:
    """Something said of a name: the sentence, the question in its words, and in others; in both languages."""

    of_person: bool
    values: tuple[tuple[str, str], ...] | None
    """English and Chinese; None: a number."""
    en: tuple[str, str, str]
    zh: tuple[str, str, str]


RELATIONS = (
    Relation(False, None,
             ("The access code of {name} is {value}.", "What is the access code of {name}?",
              "Which digits let someone into {name}?"),
             ("{name}的门禁密码是{value}。", "{name}的门禁密码是多少？", "要进入{name}，需要输入哪几位数字？")),
    Relation(True, tuple(CITIES),
             ("{name} was born in {value}.", "Where was {name} born?", "What is the home town of {name}?"),
             ("{name}出生在{value}。", "{name}出生在哪里？", "{name}的老家是哪座城市？")),
    Relation(False, None,
             ("The annual budget of {name} is {value} dollars.", "What is the annual budget of {name}?",
              "How much money may {name} spend each year?"),
             ("{name}的年度预算为{value}元。", "{name}的年度预算是多少？", "{name}一年能花多少钱？")),
    Relation(True, tuple(FRUITS),
             ("{name} likes to eat {value} most of all.", "What does {name} like to eat most of all?",
              "Which fruit is the favourite of {name}?"),
             ("{name}最喜欢吃{value}。", "{name}最喜欢吃什么？", "{name}最爱的水果是哪一种？")),
    Relation(True, None,
             ("The telephone number of {name} is {value}.", "What is the telephone number of {name}?",
              "How can I call {name}?"),
             ("{name}的电话号码是{value}。", "{name}的电话号码是多少？", "怎样才能打给{name}？")),
    Relation(False, None,
             ("{name} was founded in the year {value}.", "In which year was {name} founded?",
              "How long ago did {name} come into being?"),
             ("{name}创办于{value}年。", "{name}创办于哪一年？", "{name}是什么时候建立的？")),
    Relation(True, tuple(FOODS),
             ("{name} is allergic to {value}.", "What is {name} allergic to?", "Which food makes {name} ill?"),
             ("{name}对{value}过敏。", "{name}对什么过敏？", "哪种食物会让{name}身体不舒服？")),
    Relation(True, tuple(COLOURS),
             ("{name} drives a {value} van.", "What van does {name} drive?",
              "Which colour is the vehicle that belongs to {name}?"),
             ("{name}开一辆{value}色的面包车。", "{name}开一辆什么样的面包车？", "{name}的汽车是什么颜色？")),
    Relation(True, tuple(TUNES),
             ("{name} plays the {value} every evening.", "What does {name} play every evening?",
              "Which musical instrument has {name} learned?"),
             ("{name}每天晚上练习{value}。", "{name}每天晚上练习什么？", "{name}会演奏哪种乐器？")),
)  # fmt: skip

KEYS: dict[Language, tuple[str, str]] = {
    "en": ("One of the spare keys of {0} has number {1}.", "Which numbers do the spare keys of {0} have?"),
    "zh": ("{0}的备用钥匙之一编号为{1}。", "{0}的备用钥匙编号有哪些？"),
}
DAYS: dict[Language, tuple[str, str]] = {
    "en": ("On {1} March, {0} came too late to work.", "How many times did {0} come too late to work in March?"),
    "zh": ("三月{1}日，{0}上班迟到了。", "三月份{0}上班迟到了几次？"),
}
NUMBERS: dict[Language, list[str]] = {
    "en": ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "zh": list("零一二三四五六七八九"),
}


@dataclass(frozen=True, slots=True)
class Needle:
    """A question and where its answers stand: `spans` in bytes of the text, `depth` of the first from 0 to 1."""

    kind: Kind
    language: Language
    """Of the sentence."""
    question: str
    answers: tuple[tuple[str, ...], ...]
    """What a right answer has: one spelling of each."""
    spans: tuple[tuple[int, int], ...]
    depth: float


@dataclass(frozen=True, slots=True)
class Haystack:
    """A text and its needles."""

    text: bytes
    needles: tuple[Needle, ...]


@dataclass(frozen=True, slots=True)
class _Hidden:
    """Sentences that answer questions, before they have a place.  `before` stands right before the first one."""

    sentences: tuple[str, ...]
    asked: tuple[tuple[Kind, str], ...]
    answers: tuple[tuple[str, ...], ...]
    before: str = ""
    claim: str = ""
    """How nothing else in the text may begin."""


def haystack(language: Language, size: int, seed: int, needles: int = 36, mentions: int = MENTIONS) -> Haystack:
    """A text of about `size` bytes with so many needles of the first kinds, and some of the others."""
    dice = random.Random(f"needles {language} {seed}")
    mentions = min(mentions, size // SIBLINGS_PART // (needles * 150))  # so that a short text is not all siblings
    hidden, siblings = _hidden(language, needles, mentions, dice)
    before = {each.sentences[0]: each.before for each in hidden}
    said = [sentence for each in hidden for sentence in (*each.sentences, each.before)]
    pieces = filler(language, size - sum(len(each.encode()) + 1 for each in (*said, *siblings)), seed)
    # Needles are dealt over all depths; siblings lie anywhere.
    dealt = [sentence for each in hidden for sentence in each.sentences]
    dice.shuffle(dealt)
    places = [int((number + dice.random()) / len(dealt) * len(pieces)) for number in range(len(dealt))]
    planted = list(zip(places, dealt, strict=True)) + [(dice.randrange(len(pieces)), each) for each in siblings]
    text, found = _planted(pieces, planted, before, language)
    made = [
        Needle(kind, language, question, each.answers, spans, spans[0][0] / len(text))
        for each in hidden
        for spans in [tuple(found[sentence] for sentence in each.sentences)]
        for kind, question in each.asked
    ]
    return Haystack(text, tuple(made))


def _planted(
    pieces: list[str], planted: list[tuple[int, str]], before: dict[str, str], language: Language
) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The text, and where each sentence came to stand."""
    text, found = bytearray(), dict[str, tuple[int, int]]()
    waiting = sorted(planted, reverse=True)
    for number, piece in enumerate(pieces):
        while waiting and waiting[-1][0] <= number:
            sentence = waiting.pop()[1]
            text += before.get(sentence, "").encode()
            start = len(text)
            text += sentence.encode()
            found[sentence] = (start, len(text))
            inline = number and not pieces[number - 1].endswith("\n")
            text += (b" " if language == "en" else b"") if inline else b"\n"
        text += piece.encode()
    return bytes(text), found


def _hidden(language: Language, count: int, mentions: int, dice: random.Random) -> tuple[list[_Hidden], list[str]]:
    people, places = _names(language, True, dice), _names(language, False, dice)
    hidden, siblings = list[_Hidden](), list[str]()
    for number in range(count):
        relation = RELATIONS[number % len(RELATIONS)]
        name = (people if relation.of_person else places).pop()
        hidden.append(_single(relation, language, name, dice))
        siblings += _siblings(relation, language, name, dice)
    for number in range(count // 2):
        relation = RELATIONS[number % len(RELATIONS)]
        name, crowd = ((people if relation.of_person else places).pop() for _ in range(2))
        hidden.append(_apart(relation, language, name, dice))
        hidden.append(_crowded(relation, language, crowd, dice))
        siblings += _siblings(relation, language, name, dice) + _siblings(relation, language, crowd, dice)
        siblings += _mentioned(crowd, language, mentions, dice)
    for number in range(max(2, count // 6)):
        place, person = places.pop(), people.pop()
        keys, days = dice.sample(range(10000, 99999), 8), dice.sample(range(1, 29), 9 + number % 5)
        said, others = _several(KEYS[language], place, _near(place, language, False, dice)[0], keys, 4)
        hidden.append(
            _Hidden(said, (("several", KEYS[language][1].format(place)),), tuple((str(key),) for key in keys[:4]))
        )
        late = 5 + number % 5
        said, more = _several(DAYS[language], person, _near(person, language, True, dice)[0], days, late)
        spelled = (str(late), NUMBERS["en"][late], NUMBERS["zh"][late])
        hidden.append(_Hidden(said, (("counted", DAYS[language][1].format(person)),), (spelled,)))
        siblings += others + more
    taken = {sentence for each in hidden for sentence in each.sentences}
    # A name that is near one needle's may be another's own, of which nothing else may be said.
    told = tuple(each.claim for each in hidden if each.claim)
    return hidden, sorted(each for each in set(siblings) - taken if not each.startswith(told))


def _several(
    forms: tuple[str, str], name: str, near: str, values: list[int], wanted: int
) -> tuple[tuple[str, ...], list[str]]:
    """The first values said of the name, the others of the near one."""
    said = tuple(forms[0].format(name, value) for value in values[:wanted])
    return said, [forms[0].format(near, value) for value in values[wanted:]]


def _single(relation: Relation, language: Language, name: str, dice: random.Random) -> _Hidden:
    value, abroad = _value(relation, dice), _abroad(language)
    sentence, literal, reworded = _said(relation, language, name, value)
    asked: list[tuple[Kind, str]] = [("literal", literal), ("reworded", reworded)]
    asked.append(("crossed", _said(relation, abroad, name, value)[1]))
    if not relation.of_person:
        asked.append(("translated", _said(relation, abroad, _translated(name, language), value)[1]))
    return _Hidden((sentence,), tuple(asked), (value,), claim=_claim(relation, language, name))


def _crowded(relation: Relation, language: Language, name: str, dice: random.Random) -> _Hidden:
    value = _value(relation, dice)
    sentence, _, reworded = _said(relation, language, name, value)
    return _Hidden((sentence,), (("crowded", reworded),), (value,), claim=_claim(relation, language, name))


def _apart(relation: Relation, language: Language, name: str, dice: random.Random) -> _Hidden:
    pronoun = {"en": "she" if relation.of_person else "it", "zh": "她" if relation.of_person else "它"}[language]
    value = _value(relation, dice)
    sentence = _said(relation, language, pronoun, value)[0].replace(" of she ", " of her ")
    opening = {"en": "The next entry in the records is about {0}. ", "zh": "记录中的下一条是关于{0}的。"}[language]
    before = opening.format(name)
    mark = f"(Entry {dice.randrange(10**8)}.) " if language == "en" else f"（第{dice.randrange(10**8)}条。）"
    asked: tuple[tuple[Kind, str], ...] = (("apart", _said(relation, language, name, value)[1]),)
    return _Hidden((sentence + mark.rstrip(),), asked, (value,), before, _claim(relation, language, name))


def _siblings(relation: Relation, language: Language, name: str, dice: random.Random) -> list[str]:
    """What is no answer: of near names, and of this name in another way."""
    near = _near(name, language, relation.of_person, dice)
    found = [_said(relation, language, each, _value(relation, dice))[0] for each in near]
    others = [each for each in RELATIONS if each.of_person == relation.of_person and each is not relation]
    return found + [_said(other, language, name, _value(other, dice))[0] for other in dice.sample(others, 2)]


def _mentioned(name: str, language: Language, count: int, dice: random.Random) -> list[str]:
    """Sentences of the filler's kind, with a name as who did it."""
    who, end = name[0].upper() + name[1:], "." if language == "en" else "。"
    return [clause(language, who, dice) + end for _ in range(count)]


def _abroad(language: Language) -> Language:
    return "zh" if language == "en" else "en"


def _translated(place: str, language: Language) -> str:
    """Both lists of names are in the same order."""
    here, there = _halves(language, False), _halves(_abroad(language), False)
    one, other = _halved(place, language, False)
    return _name((there[0][here[0].index(one)], there[1][here[1].index(other)]), _abroad(language), False)


def _halves(language: Language, of_person: bool) -> tuple[list[str], list[str]]:
    """What the two words of a name may be."""
    words = ("given", "family") if of_person and language == "en" else ("family", "given")
    first, second = (BANKS[f"{language} {each}"] for each in (words if of_person else ("which", "where")))
    return first, second


def _name(halves: tuple[str, str], language: Language, of_person: bool) -> str:
    if language == "zh":
        return "".join(halves)
    return ("" if of_person else "the ") + " ".join(halves)


def _halved(name: str, language: Language, of_person: bool) -> tuple[str, str]:
    name = name.removeprefix("the ")
    one = next(each for each in _halves(language, of_person)[0] if name.startswith(each))
    return one, name.removeprefix(one).strip()


def _names(language: Language, of_person: bool, dice: random.Random) -> list[str]:
    """All names of a kind, in a random order."""
    found = [_name(pair, language, of_person) for pair in itertools.product(*_halves(language, of_person))]
    dice.shuffle(found)
    return found


def _near(name: str, language: Language, of_person: bool, dice: random.Random) -> list[str]:
    """Two names that differ from this one in one word each."""
    (one, other), (ones, others) = _halved(name, language, of_person), _halves(language, of_person)
    pairs = [
        (one, dice.choice([each for each in others if each != other])),
        (dice.choice([each for each in ones if each != one]), other),
    ]
    return [_name(pair, language, of_person) for pair in pairs]


def _claim(relation: Relation, language: Language, name: str) -> str:
    """What a sentence says before the value."""
    return _said(relation, language, name, ("\0", "\0"))[0].partition("\0")[0]


def _value(relation: Relation, dice: random.Random) -> tuple[str, str]:
    if relation.values is None:
        return (str(dice.randrange(10000, 99999)),) * 2
    return dice.choice(relation.values)


def _said(relation: Relation, language: Language, name: str, value: tuple[str, str]) -> tuple[str, str, str]:
    forms, said = (relation.en, value[0]) if language == "en" else (relation.zh, value[1])
    sentence, literal, reworded = (form.format(name=name, value=said) for form in forms)
    if language == "en":
        sentence = sentence[0].upper() + sentence[1:]
    return sentence, literal, reworded
