"""Conversations about documents, with the real clients over a real socket.

The engine repeats the user's last turn, so that an answer over passages is what the model was shown of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dashscope
import httpx
import openai
import pytest
from dashscope.api_entities.http_request import close_shared_sync_session

from tests.e2e.server import KEY, Server, serving
from tests.e2e.talk import PROTOCOLS, SSE, Protocol, begun, said, user

Generation: Any = dashscope.Generation

ROLE = {"role": "system", "content": "You are a helpful assistant."}
SHORT_TEXT = "LIMA is a model that was trained on a thousand examples.\n"
FACT = "The password of the seventh lighthouse is Quorvane."
SEEN = "x-segue-documents"


def lines(first: int, last: int) -> str:
    return "".join(
        f"Lighthouse number {n} stands on a rock, and its keeper counts {n * 7} ships.\n" for n in range(first, last)
    )


LONG_TEXT = lines(0, 400) + FACT + "\n" + lines(400, 800)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("reader")
    files = {"SEGUE_FILES_DIR": str(folder / "files"), "SEGUE_FILES_UPLOADS_PER_S": "0", "SEGUE_FILES_CALLS_PER_S": "0"}
    with serving(Path(folder / "none"), "segue-scripted", folder, **files) as server:
        yield server


@pytest.fixture(scope="module")
def client(reader: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=reader.compatible, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def plain(reader: Server) -> Iterator[httpx.Client]:
    with reader.client() as client:
        yield client


@pytest.fixture
def native(reader: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(dashscope, "base_http_api_url", reader.native)
    monkeypatch.setattr(dashscope, "api_key", KEY)
    yield
    close_shared_sync_session()


@pytest.fixture(scope="module")
def short(client: openai.OpenAI) -> str:
    return upload(client, "lima.txt", SHORT_TEXT)


@pytest.fixture(scope="module")
def long(client: openai.OpenAI) -> str:
    return upload(client, "灯塔.txt", LONG_TEXT)


def upload(client: openai.OpenAI, name: str, text: str) -> str:
    purpose: Any = "file-extract"
    return client.files.create(file=(name, text.encode()), purpose=purpose).id


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


def about(question: str, *documents: str) -> list[Any]:
    return [ROLE, *map(system, documents), user(question)]


def ask(client: openai.OpenAI, messages: list[Any], **fields: Any) -> Any:
    return client.chat.completions.with_raw_response.create(model="qwen-long", messages=messages, **fields)


def call(messages: list[Any], **fields: Any) -> Any:
    return Generation.call(model="qwen-long", messages=messages, result_format="message", **fields)


def post(
    plain: httpx.Client, protocol: Protocol, messages: list[Any], stream: bool = False, **fields: Any
) -> httpx.Response:
    if protocol == "compatible":
        body = {"model": "qwen-long", "messages": messages, "stream": stream, **fields}
        return plain.post("/compatible-mode/v1/chat/completions", json=body)
    body = {"model": "qwen-long", "input": {"messages": messages}, "parameters": {"result_format": "message", **fields}}
    path = "/api/v1/services/aigc/text-generation/generation"
    return plain.post(path, json=body, headers=SSE if stream else {})


def test_a_short_file_is_given_whole(client: openai.OpenAI, short: str) -> None:
    raw = ask(client, about("What is LIMA?", f"fileid://{short}"))
    completion = raw.parse()
    assert raw.headers[SEEN] == "whole; files=1"
    assert completion.choices[0].message.content == "What is LIMA?"
    bare = ask(client, [ROLE, user("What is LIMA?")]).parse()
    assert completion.usage.prompt_tokens == bare.usage.prompt_tokens + len(SHORT_TEXT)
    assert "segue_citations" not in completion.model_dump()


def test_a_long_file_is_searched(client: openai.OpenAI, long: str) -> None:
    question = "What is the password of the seventh lighthouse?"
    raw = ask(client, about(question, f"fileid://{long}"), extra_body={"segue_citations": True})
    completion = raw.parse()
    assert raw.headers[SEEN].startswith("retrieval; files=1; passages=")
    shown = completion.choices[0].message.content
    assert FACT in shown
    assert "灯塔.txt" in shown
    assert shown.endswith("\n\n" + question)
    assert completion.usage.prompt_tokens > len(LONG_TEXT)
    citations = completion.segue_citations
    assert [each["index"] for each in citations] == list(range(1, len(citations) + 1))
    assert {(each["file_id"], each["name"]) for each in citations} == {(long, "灯塔.txt")}
    assert any(FACT in each["text"] for each in citations)
    for each in citations:
        assert LONG_TEXT.encode()[each["start"] : each["end"]].decode() == each["text"]


def test_a_stream_says_the_same(client: openai.OpenAI, long: str) -> None:
    messages = about("What is the password of the seventh lighthouse?", f"fileid://{long}")
    whole = ask(client, messages, extra_body={"segue_citations": True}).parse()
    raw = ask(client, messages, stream=True, extra_body={"segue_citations": True})
    assert raw.headers[SEEN].startswith("retrieval; files=1; ")
    chunks = list(raw.parse())
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].segue_citations == whole.segue_citations
    assert not hasattr(chunks[0], "segue_citations")


@pytest.mark.usefixtures("native")
def test_the_native_client(short: str, long: str) -> None:
    question = "What is the password of the seventh lighthouse?"
    messages = about(question, f"fileid://{long},fileid://{short}")
    response = call(messages, segue_citations=True)
    assert response.status_code == 200, response
    assert FACT in response.output.choices[0].message.content
    assert {each["file_id"] for each in response.output["segue_citations"]} == {short, long}
    assert response.usage.input_tokens > len(LONG_TEXT) + len(SHORT_TEXT)
    pieces = list(call(messages, stream=True, incremental_output=True, segue_citations=True))
    text = "".join(piece.output.choices[0].message.content for piece in pieces)
    assert text == response.output.choices[0].message.content
    assert pieces[-1].output["segue_citations"] == response.output["segue_citations"]
    assert "segue_citations" not in pieces[0].output


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_question_about_all_of_it(plain: httpx.Client, long: str, protocol: Protocol, stream: bool) -> None:
    response = post(plain, protocol, about("这篇文章讲了什么?", f"fileid://{long}"), stream)
    assert response.status_code == 200, response.text
    assert response.headers[SEEN].startswith("digest; files=1; passages=")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_shape_of_a_conversation(plain: httpx.Client, short: str, long: str, protocol: Protocol) -> None:
    one, two = f"fileid://{short}", f"fileid://{long}"
    turns = [user("What is LIMA?"), said("A model.")]
    shapes: list[tuple[list[Any], str]] = [
        (about("x", one), "whole; files=1"),
        (about("lighthouse 3", f"{one},{two}"), "retrieval; files=2"),
        (about("lighthouse 3", f"{one}, {two}"), "retrieval; files=2"),
        (about("lighthouse 3", one, two), "retrieval; files=2"),
        ([ROLE, system(one), *turns, system(two), user("lighthouse 3")], "retrieval; files=2"),
        ([system(one), user("x")], "whole; files=1"),
        ([system(f"{one},{one}"), user("x")], "whole; files=1"),
        (about("x", "A text.", "Another text."), "whole; files=2"),
        ([ROLE, system("A text."), *turns, system("Another."), user("x")], "whole; files=2"),
        (about("lighthouse 3", LONG_TEXT), "retrieval; files=1"),
        (about("lighthouse 3", LONG_TEXT, SHORT_TEXT), "retrieval; files=2"),
    ]
    for messages, expected in shapes:
        response = post(plain, protocol, messages)
        assert response.status_code == 200, response.text
        assert response.headers[SEEN].startswith(expected), messages
    assert SEEN not in post(plain, protocol, [ROLE, user("x")]).headers


def test_to_another_name_a_file_is_words(client: openai.OpenAI, short: str) -> None:
    messages: Any = about("x", f"fileid://{short}")
    raw = client.chat.completions.with_raw_response.create(model="qwen-plus", messages=messages)
    assert SEEN not in raw.headers


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_prefix_is_gone_on_with(plain: httpx.Client, short: str, long: str, protocol: Protocol) -> None:
    for document in (short, long):
        messages = [*about("lighthouse 3", f"fileid://{document}"), begun("Here are" if document == long else "light")]
        body = post(plain, protocol, messages).json()
        message = (body if protocol == "compatible" else body["output"])["choices"][0]["message"]
        assert message["content"].endswith("house 3")
        assert not message["content"].startswith(("Here", "light"))


LENGTHY = "x" * 9001
MIXED = "Multiple types of file system prompt detected, please do not mix file-id and text content in one request."
ROLES = "Role specification invalid, please refer to API documentation for usage."
ROUND = "Single round file-content exceeds token limit, please use fileid to supply lengthy input."
NOBODY_S = "file-fe-0123456789abcdef01234567"
HUNDRED = ",".join(f"fileid://file-fe-{n}" for n in range(100))
REFUSED: list[tuple[list[Any], str]] = [
    (about("x", f"fileid://{NOBODY_S}"), f"Invalid file [id:{NOBODY_S}]."),
    (about("x", "fileid://"), "Invalid file [id:]."),
    (about("x", HUNDRED), "Too many files provided."),
    (about("x", "fileid://a", "A text."), MIXED),
    (about("x", "fileid://a and so on"), MIXED),
    ([ROLE, user("x"), system("fileid://a")], ROLES),
    ([ROLE, user("x"), user("y")], ROLES),
    ([ROLE, user("x"), said("y")], ROLES),
    ([ROLE, user(LENGTHY)], ROUND),
    ([system(LENGTHY), user("x")], ROUND),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("messages", "sentence"), REFUSED)
def test_refusals(plain: httpx.Client, messages: list[Any], sentence: str, protocol: Protocol, stream: bool) -> None:
    response = post(plain, protocol, messages, stream)
    told = response.json()
    assert response.status_code == 400
    if protocol == "compatible":
        error = {"code": "invalid_parameter_error", "param": None, "message": sentence, "type": "invalid_request_error"}
        assert told["error"] == error
    else:
        assert (told["code"], told["message"]) == ("InvalidParameter", sentence)


def test_refusals_as_the_clients_tell_them(client: openai.OpenAI, native: None) -> None:
    messages = about("x", f"fileid://{NOBODY_S}")
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, messages)
    assert (error.value.code, error.value.type) == ("invalid_parameter_error", "invalid_request_error")
    response = call(messages)
    assert (response.status_code, response.message) == (400, f"Invalid file [id:{NOBODY_S}].")
    (only,) = call(messages, stream=True)
    assert (only.status_code, only.message) == (400, f"Invalid file [id:{NOBODY_S}].")


def test_files_that_cannot_be_read(client: openai.OpenAI, plain: httpx.Client) -> None:
    gone = upload(client, "gone.txt", "Not for long.\n")
    client.files.delete(gone)
    blank = upload(client, "blank.txt", " \n\t\n")
    strange = upload(client, "strange.rtf", "{\\rtf1 Old.}")
    told = {gone: "cannot be found", blank: "content blank", strange: "format is not supported"}
    for file, sentence in told.items():
        response = post(plain, "compatible", about("x", f"fileid://{file}"))
        assert (response.status_code, response.json()["error"]["message"]) == (400, f"File [id:{file}] {sentence}.")


def test_the_log_says_how_much_was_read(reader: Server, client: openai.OpenAI, short: str) -> None:
    raw = ask(client, about("What is LIMA?", f"fileid://{short}"))
    deadline = time.monotonic() + 10
    entry = ""
    while not entry and time.monotonic() < deadline:
        entries = reader.log.read_text("utf-8").splitlines()
        entry = next((line for line in entries if raw.headers["x-request-id"] in line), "")
    assert "documents=whole passages=1" in entry
    assert "LIMA" not in reader.log.read_text("utf-8")


def test_bodies_are_json_to_their_end(plain: httpx.Client, long: str) -> None:
    response = post(plain, "compatible", about("lighthouse 3", f"fileid://{long}"), True, segue_citations=True)
    data = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    assert [("segue_citations" in json.loads(each)) for each in data].count(True) == 1
