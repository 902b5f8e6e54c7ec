"""People who share a given name with whom is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.retrieval.namesakes import named, others
from tests.retrieval.shelf import Shelf, padded


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("陈子涵出生在哪里？", {"陈子涵"}),
        ("陳子涵出生在哪裡？", {"陈子涵"}),
        ("Where is 李晨曦?", {"李晨曦"}),
        ("陈晨曦和秦子涵谁大？", {"陈晨曦", "秦子涵"}),
        ("高中学生有多少？", set()),
        ("高速公路有多长？", set()),
        ("何时建立？周末活动是什么？", set()),
        ("王明在哪里？", set()),
        ("Where was Thora Voss born?", {"Thora Voss"}),
        ("Does Thora Voss know Dr Émile Zola?", {"Thora Voss", "Émile Zola"}),
        ("Thora was where? The Voss was there.", set()),
        ("What Is This?", set()),
        ("", set()),
    ],
)
def test_names(question: str, names: set[str]) -> None:
    assert named(question) == names


def test_whoever_is_asked_for_is_left_and_of_every_document_something() -> None:
    passages = [(0, "陈子涵出生在里斯本"), (0, "秦子涵出生在科克"), (0, "子涵说"), (1, "郑子涵"), (0, "郑子涵和陈子涵")]
    asked = frozenset({"陈子涵"})
    assert others(asked, passages) == [False, True, False, False, False]
    assert others(asked, passages[1:4]) == [False] * 3, "nobody speaks of whom was asked for"
    assert others(frozenset({"陈子涵", "秦子涵"}), passages) == [False] * 5


def test_who_has_the_family_name_is_another_too() -> None:
    asked = frozenset({"许晨曦"})
    passages = [(0, "许晨曦最喜欢吃木瓜"), (0, "许思琪最喜欢吃樱桃"), (0, "许思琪认识晨曦"), (0, "许多人最喜欢吃樱桃")]
    assert others(asked, passages) == [False, True, False, False]
    assert others(asked, [*passages[:1], (0, "许思琪是她的母亲")]) == [False] * 2, "of the family"
    assert others(frozenset({"许晨曦", "许思琪"}), passages) == [False] * 4


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Felix Moreau plays the harp.", False),
        ("Nadia Moreau plays the cello.", True),
        ("Felix Whitlock plays the banjo.", False),
        ("Then Moreau met Nadia Moreau.", False),
        ("Mr Moreau plays. So does Nadia Moreau.", False),
        ("Nadia Moreau married him.", False),
        ("Nadia Moreau saw the European Council.", True),
        ("The Commission asked Nadia Moreau.", False),
        ("The Trade Commission met.", True),
        ("Moreaux, Felixstowe", False),
        ("Some play the cello.", False),
        ("Nadia Moreau knows Felix Moreau.", False),
    ],
)
def test_who_shares_the_last_word_of_a_name_is_another(text: str, other: bool) -> None:
    asked = frozenset({"Felix Moreau", "European Commission"})
    assert others(asked, [(0, "Felix Moreau"), (0, text)]) == [False, other]
    assert others(asked, [(0, "Nobody"), (0, text)]) == [False, False], "nobody speaks of whom was asked for"


def test_what_shares_the_first_word_may_belong_to_it() -> None:
    assert others(frozenset({"Apple Inc"}), [(0, "Apple Inc sells"), (0, "Apple Watch")]) == [False, False]


def test_a_namesake_is_not_found_beside_whom_was_asked_for(tmp_path: Path) -> None:
    shelf = Shelf(
        tmp_path, padded("陈子涵出生在特罗姆瑟。"), padded("秦子涵出生在里斯本。") + padded("陈子涵对花生过敏。")
    )
    said = shelf.said("陈子涵出生在哪里？", 3000)
    assert "陈子涵出生在特罗姆瑟。" in said
    assert "秦子涵出生在里斯本" not in said
    assert "秦子涵出生在里斯本" in shelf.said("秦子涵出生在哪里？", 3000)
    assert "秦子涵出生在里斯本" in shelf.said("周子涵出生在哪里？", 3000)
