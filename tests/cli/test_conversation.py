"""A conversation as it is asked for: what goes to the server, and what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.cli.conversation import Conversation, File, Image, cut_at
from segue.cli.pictures import picture
from segue.cli.terminal import Stop, harmless


def test_the_last_answer_is_open_and_the_others_are_not() -> None:
    talk = Conversation("qwen-plus")
    talk.ask("One?").answer = " First "
    assert talk.messages()[-1] == {"role": "assistant", "content": " First ", "partial": True}
    talk.ask("Two?")
    assert talk.messages() == [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": " First "},
        {"role": "user", "content": "Two?"},
    ]


def test_a_thought_is_gone_on_with_too() -> None:
    talk = Conversation("qwen-plus")
    talk.ask("Why?").thought = "Let me"
    assert talk.messages()[-1] == {
        "role": "assistant",
        "content": "",
        "partial": True,
        "reasoning_content": "Let me",
    }


def test_each_try_has_a_seed_of_its_own_and_going_on_keeps_it() -> None:
    talk = Conversation("qwen-plus")
    turn = talk.ask("One?")
    assert "seed" not in talk.body()
    turn.tries = 2
    turn.answer = "so far"
    assert talk.body()["seed"] == 1236
    talk.seed = 7
    assert talk.body(max_tokens=None, temperature=0.5)["seed"] == 9
    assert talk.body(max_tokens=None, temperature=0.5).keys() == {"model", "messages", "temperature", "seed"}
    talk.ask("Two?")
    assert talk.body()["seed"] == 7


def test_a_question_that_nothing_came_of_is_given_up_but_for_its_files() -> None:
    talk = Conversation("qwen-plus", system="Be brief.")
    talk.files.append(File("file-1", "a.txt"))
    talk.ask("Refused?")
    talk.files.append(File("file-2", "b.txt"))
    talk.ask("Two?")
    assert talk.asked_of() == "qwen-long"
    assert talk.messages() == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "fileid://file-1,fileid://file-2"},
        {"role": "user", "content": "Two?"},
    ]
    talk.model = "qwen-long-latest"
    assert talk.asked_of() == "qwen-long-latest"


def test_pictures_go_with_their_question_alone() -> None:
    talk = Conversation("qwen-vl-plus")
    talk.images.append(Image("a.png", "data:image/png;base64,AAAA"))
    talk.ask("What is it?").answer = "A lamp."
    talk.ask("And now?")
    first, _, last = talk.messages()
    assert first["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "text", "text": "What is it?"},
    ]
    assert last["content"] == "And now?"
    assert "*With a.png.*" in talk.kept()


@pytest.mark.parametrize(
    ("where", "kept"),
    [("4", "One,"), ("-4", "One, two, "), ("two", "One, two, two"), ("99", "One, two, two."), ("-99", ""), ("0", "")],
)
def test_points_of_an_answer(where: str, kept: str) -> None:
    assert "One, two, two."[: cut_at("One, two, two.", where)] == kept


def test_a_point_that_is_not_there() -> None:
    assert cut_at("One", "two") is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"\x89PNG\r\n\x1a\n..", "png"), (b"\xff\xd8\xff\xe0", "jpeg"), (b"RIFF....WEBPVP8 ", "webp"), (b"GIF89a", "gif")],
)
def test_what_a_picture_is_its_bytes_say(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert picture(path).uri.startswith(f"data:image/{kind};base64,")


def test_what_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"RIFF....WAVE")
    with pytest.raises(Stop, match="no picture"):
        picture(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(10 * 1024**2))
    with pytest.raises(Stop, match="larger than 10 MiB"):
        picture(path)
    with pytest.raises(Stop):
        picture(tmp_path)


def test_control_characters_are_shown() -> None:
    assert harmless("a\tb\n\x1b[31m\r\x7f\x9b é 中") == "a\tb\n␛[31m␍␡\ufffd é 中"
