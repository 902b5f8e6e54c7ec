"""Answers of a wanted form, whole and streamed, and gone on with from the middle."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import httpx
import pytest

from segue.core.request import Format
from segue.prompt.constraint import check, constraint
from tests.e2e.server import Server
from tests.e2e.talk import PROTOCOLS, WAYS, Ask, all_ways, ask, begun, post, streamed, together, user, whole

OBJECT = {"type": "json_object"}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "colours": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "age", "colours"],
    "additionalProperties": False,
}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
MEET = {"allOf": [{"type": "string", "pattern": end} for end in ("a.{12}$", "b.{11}$", "c.{10}$")]}
MEETING = {"response_format": {"type": "json_schema", "json_schema": {"name": "meeting", "schema": MEET}}}
"""Patterns that may each be followed alone."""
WAIT_S = 900.0
"""Eight answers of 500 tokens at once, on a machine that has other work."""
QUESTIONS = (
    "Describe a lighthouse keeper as JSON.",
    "用 JSON 描述一只猫。",
    "Give me a JSON object with three planets and their moons.",
    "JSON: a recipe for pancakes, short.",
    "Turn this into json: Anna, 31, likes chess and snow.",
)


def is_person(text: str) -> bool:
    found = json.loads(text)
    colours = found["colours"]
    return (
        set(found) == {"name", "age", "colours"}
        and isinstance(found["name"], str)
        and 0 <= found["age"] <= 150
        and 1 <= len(colours) <= 3
        and set(colours) <= {"red", "green", "blue"}
    )


def test_json_mode_gives_an_object(http: httpx.Client) -> None:
    """What is drawn is another text on another processor, and may be a long one: cut short it is begun well, as the
    check of prefixes knows it."""
    short = {"response_format": OBJECT, "temperature": 1.0, "max_tokens": 300}
    form = constraint(Format("json_object"))
    assert form is not None
    answers = all_ways(http, [ask(user(f"{QUESTIONS[n]} Two keys, one word each."), seed=n, **short) for n in range(2)])
    for answer in answers:
        if answer.finish == "length":
            check(form, answer.text.encode())
        else:
            assert isinstance(json.loads(answer.text), dict), answer.text
    assert "stop" in [answer.finish for answer in answers]


def test_a_schema_is_kept_to(http: httpx.Client) -> None:
    asked = ask(user("Invent a person, as JSON."), response_format=SCHEMA, temperature=1.2, top_p=1.0, max_tokens=600)
    for answer in all_ways(http, [asked.but(seed=seed) for seed in range(2)]):
        assert is_person(answer.text), answer.text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cut_short_it_is_completed(http: httpx.Client, protocol: Any) -> None:
    """At the limit of tokens, and then at every kind of place."""
    asked = ask(user(QUESTIONS[0]), response_format=SCHEMA, temperature=0.8, seed=3, max_tokens=200)
    uncut = whole(http, protocol, asked).text
    first = whole(http, protocol, asked.but(max_tokens=9))
    assert first.finish == "length"
    rest = streamed(http, protocol, Ask((*asked.messages, begun(first.text)), asked.parameters))
    assert first.text + rest.text == uncut
    for cut in range(1, len(uncut), 23):
        prefix = uncut[:cut]
        answer = whole(http, protocol, Ask((*asked.messages, begun(prefix)), asked.but(seed=cut).parameters))
        assert is_person(prefix + answer.text), (prefix, answer.text)


def test_a_prefix_of_the_caller_s_own(http: httpx.Client) -> None:
    for prefix, more in (('{"na', True), ('{"name": "Zo', True), ('{"name":"Q","age":4', True)):
        asked = ask(user("A person as JSON."), begun(prefix), response_format=SCHEMA, temperature=1.0, max_tokens=600)
        for way in WAYS:
            answer = way(http, "compatible", asked)
            assert is_person(prefix + answer.text), answer.text
            assert bool(answer.text) == more
    done = '{"name": "Q", "age": 4, "colours": ["red"]}'
    answer = whole(http, "native", ask(user("A person as JSON."), begun(done), response_format=SCHEMA))
    assert (answer.text, answer.finish, answer.output_tokens) == ("", "stop", 0)


@pytest.mark.parametrize(
    ("parameters", "prefix", "told"),
    [
        ({"response_format": OBJECT}, '{"a": }', "at byte 6: expected"),
        ({"response_format": OBJECT}, "Sure: {", "at byte 0: expected"),
        ({"response_format": SCHEMA}, '{"nome', "at byte 3: expected 'a'"),
        ({"regex": "[0-9]{4}"}, "20x", "at byte 2: expected '0' or '1'"),
        ({"regex": "(("}, "", "Invalid response_format"),
        (MEETING, "", "Invalid response_format: it cannot be followed any further"),
        ({"grammar": "start: nothing"}, "", "Invalid response_format"),
        ({"response_format": {**SCHEMA, "json_schema": {"name": "n", "schema": {"not": {}}}}}, "", '"not"'),
    ],
)
def test_what_cannot_be_is_refused(http: httpx.Client, parameters: dict[str, Any], prefix: str, told: str) -> None:
    messages = (user("Some JSON."), begun(prefix)) if prefix else (user("Some JSON."),)
    for protocol in PROTOCOLS:
        response = post(http, protocol, Ask(messages, parameters))
        assert response.status_code == 400, response.text
        body = response.json()
        assert told in (body["error"] if protocol == "compatible" else body)["message"], response.text


def test_a_regex_and_a_grammar(http: httpx.Client) -> None:
    for answer in all_ways(
        http, [ask(user("A date?"), regex="20[0-9]{2}-[01][0-9]-[0-3][0-9]", seed=5, max_tokens=20)]
    ):
        assert re.fullmatch("20[0-9]{2}-[01][0-9]-[0-3][0-9]", answer.text)
    grammar = 'start: "The answer is " ("yes" | "no") "."'
    for answer in all_ways(http, [ask(user("Is snow warm?"), grammar=grammar, temperature=0, max_tokens=20)]):
        assert re.fullmatch(r"The answer is (yes|no)\.", answer.text)


def test_choices_stops_and_log_probabilities_together(http: httpx.Client) -> None:
    asked = ask(
        user("A person as JSON."), response_format=SCHEMA, n=3, temperature=1.5, seed=9, logprobs=True, max_tokens=600
    )
    answer = whole(http, "compatible", asked)
    assert all(map(is_person, answer.texts))
    assert ["".join(tokens) for tokens in answer.tokens] == list(answer.texts)
    stopped = whole(http, "compatible", asked.but(n=1, stop=['"age"']))
    assert '"age"' not in stopped.text


THINGS = (
    *("a lighthouse", "the planet Mars", "a bicycle", "Ada Lovelace", "green tea", "the number seven", "a red fox"),
    *("snow", "a violin", "the city of Lyon", "一只猫", "长城", "豆腐", "李白", "一台旧收音机", "春天", "黄河", "围棋"),
)
KEYS = (("name", "kind"), ("title", "year"), ("colour", "size"), ("id", "tags"), ("名称", "用途"), ("特点", "评分"))


def _brief(chance: random.Random) -> str:
    one, other = chance.choice(KEYS)
    return chance.choice(
        (
            f"{chance.choice(THINGS)} as a JSON object with the keys {one} and {other}, a word each.",
            f'用 JSON 描述{chance.choice(THINGS)}，只要 "{one}" 和 "{other}" 两个键，内容简短。',
            f"Describe {chance.choice(THINGS)}. Answer in json, very short: {one}, {other}.",
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_json_mode_at_length(server: Server, part: int) -> None:
    """Fifty answers a part at temperature 1: each parses, and so does each when gone on with from a random byte.
    Those of the first two parts may become long."""
    with server.client(WAIT_S) as client:
        together(lambda number: _parses(client, part, number), range(50), abreast=8)


def _parses(client: httpx.Client, part: int, number: int) -> None:
    """One answer, and the same gone on with from one of its bytes."""
    chance = random.Random(1000 * part + number)
    question = f"{chance.choice(QUESTIONS)} ({number})" if part < 2 else _brief(chance)
    asked = ask(
        user(question),
        response_format=OBJECT,
        temperature=1.0,
        top_p=1.0,
        seed=1000 * part + number,
        max_tokens=250 if part < 2 else chance.randint(4, 120),
    )
    way = (streamed, whole)[number % 2]
    first = way(client, PROTOCOLS[number // 2 % 2], asked)
    text = ended(client, asked, first.text) if first.finish == "length" else first.text
    assert isinstance(json.loads(text), dict), text
    data = text.encode()
    prefix = data[: chance.randrange(1, len(data))].decode("utf-8", "ignore")
    rest = ended(client, asked.but(seed=number), prefix)
    assert rest.startswith(prefix)
    assert isinstance(json.loads(rest), dict), (prefix, rest)


def ended(client: httpx.Client, asked: Ask, prefix: str) -> str:
    """An answer that begins so, gone on with until it ends; a model must be hindered from repeating itself for ever."""
    asked = asked.but(repetition_penalty=1.3, max_tokens=500)
    for round in range(6):
        more = (whole, streamed)[round % 2](
            client, PROTOCOLS[round % 2], Ask((*asked.messages, begun(prefix)), asked.parameters)
        )
        prefix += more.text
        if more.finish == "stop":
            return prefix
        assert more.finish == "length"
    pytest.fail(f"comes to no end: {prefix[-200:]}")
