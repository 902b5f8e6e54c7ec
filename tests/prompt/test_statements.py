"""What is asked for before a search: in which languages, how long, how often; and that a search goes on without."""

from __future__ import annotations

import asyncio

import pytest

from segue.core.errors import PromptTooLong
from segue.core.request import Request
from segue.prompt.statements import QUESTION_CHARS_MAX, REMEMBERED_MAX, Limits, Statements, scripts
from tests.prompt.shelves import Desk, asked
from tests.requests import request, said, user

ENGLISH, CHINESE = "The lamp is lit at dusk. ", "黄昏时分点亮灯塔。"
SENT = request(user("x"))


class Model:
    """Says the same, always."""

    def __init__(self, text: str = "- One.\n2. Two.\n\n* Three", wait_s: float = 0.0, too_long: bool = False) -> None:
        self.text, self.wait_s, self.too_long = text, wait_s, too_long
        self.shown: list[tuple[str, int]] = []

    async def say(self, shown: Request, tokens: int) -> str:
        assert shown.sampling.temperature == 0.0
        assert len(shown.messages) == 1
        self.shown.append((shown.messages[0].content, tokens))
        await asyncio.sleep(self.wait_s)
        if self.too_long:
            raise PromptTooLong(9, limit=8)
        return self.text


async def about(model: Model, question: str, sample: str, *before: str, limits: Limits | None = None) -> str:
    return await Statements(limits or Limits()).about(SENT, question, before, sample, "m", model.say)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("1234 + !", ()),
        (ENGLISH, ("latin",)),
        ("Où est la lampe ?", ("latin",)),
        (CHINESE, ("han",)),
        (ENGLISH + CHINESE, ("han", "latin")),
        (ENGLISH * 50 + "灯", ("latin",)),
        ("灯塔はどこにありますか", ()),
        ("Где лампа?", ()),
        ("등대는 어디에 있습니까", ()),
    ],
)
def test_scripts(text: str, found: tuple[str, ...]) -> None:
    assert scripts(text) == found


@pytest.mark.parametrize(
    ("question", "sample", "begins"),
    [
        ("Who lit the lamp?", ENGLISH, ["Write in the language of the question"]),
        ("谁点亮了灯塔？", ENGLISH, ["Write only English"]),
        ("Где лампа?", ENGLISH, ["Write only English"]),
        ("谁点亮了灯塔？", CHINESE, ["请用中文写"]),
        ("誰點亮了燈塔？", CHINESE + ENGLISH, ["请用中文写", "Write only English"]),
        ("Who lit the lamp?", CHINESE, ["只写中文"]),
        ("Who lit the lamp?", "Где лампа?", []),
    ],
)
async def test_it_is_asked_in_the_documents_languages(question: str, sample: str, begins: list[str]) -> None:
    model = Model()
    found = await about(model, question, sample)
    assert len(model.shown) == len(begins)
    for (shown, tokens), part in zip(model.shown, begins, strict=True):
        assert part in shown
        assert shown.endswith(question)
        assert tokens == 72
    assert found == " ".join(["One. Two. Three"] * len(begins))


async def test_what_is_not_asked_for() -> None:
    model = Model()
    assert await about(model, "Who?", ENGLISH, limits=Limits(tokens_max=0)) == ""
    assert await about(model, " ", ENGLISH) == ""
    assert await about(model, "x " * QUESTION_CHARS_MAX, ENGLISH) == ""
    assert await about(model, "Who?", "") == ""
    assert model.shown == []


async def test_a_short_question_leans_on_the_one_before() -> None:
    model = Model()
    await about(model, "And his brother?", ENGLISH, "What is lit?", "Who lit\nthe lamp?")
    await about(model, "And who of all the people in this village " * 3, ENGLISH, "Who lit the lamp?")
    assert model.shown[0][0].endswith("Question: Who lit the lamp? And his brother?")
    assert "Who lit the lamp" not in model.shown[1][0]


async def test_it_is_asked_once() -> None:
    model, statements = Model(), Statements(Limits())

    async def ask(question: str, sample: str = ENGLISH, name: str = "m") -> str:
        return await statements.about(SENT, question, (), sample, name, model.say)

    assert await ask("Who?") == await ask(" Who? ")
    assert len(model.shown) == 1
    await ask("Who?", CHINESE)
    await ask("Who?", name="n")
    assert len(model.shown) == 3
    for number in range(REMEMBERED_MAX):
        await ask(f"Who is number {number}?")
    await ask("Who?")
    assert len(model.shown) == 3 + REMEMBERED_MAX + 1


@pytest.mark.parametrize("next", ["Question: What then?\n- More.", "问题：然后呢？"])
async def test_a_question_that_the_model_adds_is_left_out(next: str) -> None:
    assert await about(Model(f"- One.\n- Two.\n\n{next}"), "Who?", ENGLISH) == "One. Two."
    assert await about(Model(next), "Who?", ENGLISH) == ""


@pytest.mark.parametrize("model", [Model(wait_s=60.0), Model(too_long=True)])
async def test_the_search_goes_on_without(model: Model) -> None:
    assert await about(model, "Who?", ENGLISH, limits=Limits(wait_s=0.05)) == ""
    assert len(model.shown) == 1


async def test_they_are_for_the_search_alone() -> None:
    desk = Desk(statements=Limits(60))
    sent = asked(user("Fruit?"), said("Yes."), user("Number 700 ?"), files=("long.txt",))
    shown = await desk.shown(sent)
    assert "three statements" in desk.finder.statements[0]  # the scripted model repeats what it is asked
    assert "three statements" not in shown
    whole = Desk(statements=Limits(40))
    await whole.prepare(asked(user("Red?"), files=("a.txt",)))
    assert whole.finder.statements == []
