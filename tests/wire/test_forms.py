"""The forms of an answer on the wire: a format, a regex or a grammar, never two of them; and who cannot keep to one."""

from __future__ import annotations

from typing import Any

import pytest

from segue.app import build
from segue.core.errors import FieldWrong, FormatInvalid
from segue.core.request import Format
from tests.test_app import CHAT, NATIVE, running, settings

from .reading import both, refused

OBJECT = {"type": "json_object"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
ASKED = [{"role": "user", "content": "JSON, please"}]


@pytest.mark.parametrize("kind", ["regex", "grammar"])
@pytest.mark.parametrize("source", ["a+", 'start: "a"', ""])
def test_a_source_is_read_in_both_protocols(kind: Any, source: str) -> None:
    for request in both({kind: source}):
        assert request.format == Format(kind, source=source)
    for request in both({kind: source, "response_format": {"type": "text"}}):
        assert request.format == Format(kind, source=source)


@pytest.mark.parametrize("kind", ["regex", "grammar"])
def test_null_is_absent(kind: str) -> None:
    for request in both({kind: None, "response_format": OBJECT}):
        assert request.format == Format("json_object")


@pytest.mark.parametrize(
    "fields",
    [
        {"regex": "a", "grammar": "start: /a/"},
        {"regex": "a", "response_format": OBJECT},
        {"grammar": "start: /a/", "response_format": OBJECT},
        {"regex": "a", "response_format": SCHEMA},
        {"regex": "", "grammar": ""},
    ],
    ids=str,
)
def test_forms_exclude_each_other(fields: dict[str, Any]) -> None:
    fault = refused(fields)
    assert isinstance(fault, FormatInvalid)
    assert "exclude each other" in fault.reason


@pytest.mark.parametrize("kind", ["regex", "grammar"])
@pytest.mark.parametrize("value", [1, True, ["a"], {"a": 1}], ids=str)
def test_a_source_is_a_string(kind: str, value: object) -> None:
    fault = refused({kind: value})
    assert isinstance(fault, FieldWrong)
    assert (fault.field, fault.expected) == (kind, "string")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"response_format": OBJECT},
            "'response_format.type' Invalid value: 'json_object'. Supported values are: 'text'.",
        ),
        (
            {"response_format": SCHEMA},
            "'response_format.type' Invalid value: 'json_schema'. Supported values are: 'text'.",
        ),
        ({"regex": "a+"}, "regex"),
        ({"grammar": 'start: "a"'}, "grammar"),
        ({"regex": "a", "grammar": "b"}, "exclude each other"),
    ],
)
async def test_a_model_that_cannot_keep_to_a_form_says_so(fields: dict[str, Any], said: str) -> None:
    async with running(build(settings())) as client:
        one = await client.post(CHAT, json={"model": "qwen-plus", "messages": ASKED} | fields)
        native = {
            "model": "qwen-plus",
            "input": {"messages": ASKED},
            "parameters": {"result_format": "message"} | fields,
        }
        other = await client.post(NATIVE, json=native)
    assert one.status_code == other.status_code == 400
    assert said in one.json()["error"]["message"]
    assert said in other.json()["message"]
    assert other.json()["code"] == "InvalidParameter"
