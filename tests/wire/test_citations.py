"""What was read of documents, told in a header always and in the answer where it is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segue.core.errors import FileProcessing, FileTroubled
from segue.core.events import Ended, Event, Finished, Started, Text
from segue.core.generation import Citation, Reading
from segue.wire.citations import entries
from tests.wire.fakes import COMPAT, ID, NATIVE, Client, House

CITED = Citation("file-fe-1", "报告.pdf", "p. 12", 10, 17, "passage"), Citation(None, "", "", 0, 4)
READ = Reading("retrieval", 2, 1000, CITED)
TOLD = [
    {
        "index": 1,
        "file_id": "file-fe-1",
        "name": "报告.pdf",
        "part": "p. 12",
        "start": 10,
        "end": 17,
        "text": "passage",
    },
    {"index": 2, "file_id": None, "name": "", "part": "", "start": 0, "end": 4},
]
MESSAGES = [{"role": "system", "content": "fileid://file-fe-1"}, {"role": "user", "content": "hi"}]


def events(choices: int) -> tuple[Event, ...]:
    said = [event for choice in range(choices) for event in (Text(choice, "He", 1), Ended(choice, "stop"))]
    return (Started(1022, 3, None, READ), *said, Finished(1022, 3, choices))


async def compat(house: House, **fields: Any) -> Client:
    return await Client(house.app(), COMPAT, {"model": "qwen-long", "messages": MESSAGES, **fields}).run()


async def native(house: House, stream: bool, **fields: Any) -> Client:
    body = {"model": "qwen-long", "input": {"messages": MESSAGES}, "parameters": fields}
    return await Client(house.app(), NATIVE, body, {"x-dashscope-sse": "enable"} if stream else {}).run()


def frames(client: Client) -> list[Any]:
    lines = client.body.decode().splitlines()
    return [json.loads(line[5:]) for line in lines if line.startswith("data:") and "[DONE]" not in line]


def house(choices: int = 1, reading: Reading | None = READ) -> House:
    return House(events=events(choices), reading=reading)


def test_entries() -> None:
    assert entries(CITED) == TOLD


@pytest.mark.parametrize(
    ("reading", "header"),
    [
        (READ, "retrieval; files=2; passages=2"),
        (Reading("digest", 1, 9, CITED[:1]), "digest; files=1; passages=1"),
        (Reading("whole", 3, 9, CITED), "whole; files=3"),
        (None, None),
    ],
)
async def test_a_header_says_how_much_was_read(reading: Reading | None, header: str | None) -> None:
    asked = [compat(house(reading=reading)), compat(house(reading=reading), stream=True)]
    for client in [
        await each for each in (*asked, native(house(reading=reading), False), native(house(reading=reading), True))
    ]:
        assert client.headers.get("x-segue-documents") == header


async def test_nobody_is_told_who_did_not_ask() -> None:
    for client in (await compat(house()), await compat(house(), stream=True), await native(house(), True)):
        assert b"segue_citations" not in client.body


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("usage", [False, True])
async def test_citations_compatibly(choices: int, usage: bool) -> None:
    whole = await compat(house(choices), segue_citations=True, n=choices)
    assert whole.json["segue_citations"] == TOLD
    options = {"stream": True, "stream_options": {"include_usage": usage}, "segue_citations": True, "n": choices}
    chunks = [chunk for chunk in frames(await compat(house(choices), **options)) if chunk["choices"]]
    assert [chunk.get("segue_citations") for chunk in chunks] == [None] * (len(chunks) - 1) + [TOLD]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("form", ["text", "message"])
@pytest.mark.parametrize("incremental", [False, True])
async def test_citations_natively(form: str, incremental: bool) -> None:
    asked = {"result_format": form, "incremental_output": incremental, "segue_citations": True}
    assert (await native(house(), False, **asked)).json["output"]["segue_citations"] == TOLD
    told = [frame["output"].get("segue_citations") for frame in frames(await native(house(), True, **asked))]
    assert told == [None] * (len(told) - 1) + [TOLD]


async def test_an_answer_without_documents_cites_nothing() -> None:
    plain = House(events=(Started(22, 3), Text(0, "He", 1), Ended(0, "stop"), Finished(22, 3, 1)))
    assert (await compat(plain, segue_citations=True)).json["segue_citations"] == []
    assert frames(await compat(plain, segue_citations=True, stream=True))[-1]["segue_citations"] == []
    assert (await native(plain, False, segue_citations=True)).json["output"]["segue_citations"] == []


async def test_only_names_that_read_documents_do() -> None:
    for model, documents in (("qwen-long", True), ("qwen-plus", False)):
        asked = House()
        await Client(asked.app(), COMPAT, {"model": model, "messages": MESSAGES}).run()
        await Client(asked.app(), NATIVE, {"model": model, "input": {"messages": MESSAGES}}).run()
        assert [request.documents is not None for request in asked.requests] == [documents] * 2
        assert [len(request.messages) for request in asked.requests] == [1 if documents else 2] * 2


@pytest.mark.parametrize("stream", [False, True])
async def test_faults_of_files_come_with_their_status(stream: bool) -> None:
    said = "File parsing in progress, please try again later."
    waiting = House(refusal=FileProcessing("file-fe-1"))
    told = await compat(waiting, stream=stream)
    assert (told.status, told.json["error"]) == (
        400,
        {"code": "invalid_parameter_error", "param": None, "message": said, "type": "invalid_request_error"},
    )
    told = await native(waiting, stream)
    assert (told.status, told.json) == (400, {"code": "InvalidParameter", "message": said, "request_id": ID})
    broken = House(refusal=FileTroubled("file-fe-1", "parse"))
    told = await compat(broken, stream=stream)
    assert (told.status, told.json["error"]["code"]) == (500, "internal_error")
    assert told.json["error"]["message"] == "File [id:file-fe-1] parsing error."
