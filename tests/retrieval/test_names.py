"""The full names in a question."""

from __future__ import annotations

import pytest

from segue.retrieval.names import named


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
        ("张伟的电话号码是多少？", set()),
        ("Where was Thora Voss born?", {"Thora Voss"}),
        ("Does Thora Voss know Dr Émile Zola?", {"Thora Voss", "Émile Zola"}),
        ("Thora was where? The Voss was there.", set()),
        ("What Is This?", set()),
        ("", set()),
    ],
)
def test_names(question: str, names: set[str]) -> None:
    assert named(question) == names
