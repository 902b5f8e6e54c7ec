"""Thinking over the whole house but the model, on Qwen3's own template: golden streams, budgets, refusals."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from segue.core.generation import Ability, Chunk, ModelCard, Opened, Prompt
from segue.engine.scripted import Say, Scripted, scripted_card
from tests.prompt.templates import QWEN3_TOKENS
from tests.test_calls import KEY, PARIS, TOOLS, House, W, arguments
from tests.test_calls import house as served

TEMPLATE = (Path(__file__).parent / "prompt" / "real" / "qwen3.jinja").read_text(encoding="utf-8")
USER: Any = {"role": "user", "content": "How many?"}
NATIVE = "/api/v1/services/aigc/text-generation/generation"
COMPAT = "/compatible-mode/v1/chat/completions"
THOUGHT, ANSWER = "Let me see.\nTwo", "\n\nThere are two."


def card(*abilities: Ability, template: str = TEMPLATE) -> ModelCard:
    made = scripted_card("segue-scripted")
    return replace(
        made, template=template, control_tokens=QWEN3_TOKENS, abilities=frozenset({"partial", "json", *abilities})
    )


class Thinker(Scripted):
    """Says `thought` where a thought is open, else `answer`; keeps what it was given."""

    def __init__(self, thought: str, answer: str = "", size: int = 5, served: ModelCard | None = None) -> None:
        super().__init__(Say(thought, size), served or card())
        self._thought, self._answer = Say(thought, size), Say(answer, size)
        self.prompts: list[str] = []

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        text = b"".join(await self.pieces(prompt.ids)).decode()
        self.prompts.append(text)
        self.script = self._thought if text.rfind("<think>") > text.rfind("</think>") else self._answer
        async with aclosing(super().generate(prompt)) as chunks:
            async for chunk in chunks:
                yield chunk


@contextmanager
def house(
    thought: str = f"{THOUGHT}\n</think>{ANSWER}", answer: str = "", **how: Any
) -> Iterator[tuple[House, Thinker]]:
    engine = Thinker(thought, answer, **how)
    with served("", engine=engine) as listening:
        yield listening, engine


def post(house: House, path: str, body: Any, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=20) as client:
        return client.post(house.base + path, headers={"Authorization": f"Bearer {KEY}", **headers}, json=body)


def compat(house: House, *messages: Any, **fields: Any) -> Any:
    body = {"model": "qwen-plus", "messages": messages or [USER], "enable_thinking": True} | fields
    return post(house, COMPAT, body)


def native(house: House, *messages: Any, stream: bool = False, **fields: Any) -> httpx.Response:
    parameters = {"result_format": "message", "enable_thinking": True} | fields
    body = {"model": "qwen-plus", "input": {"messages": messages or [USER]}, "parameters": parameters}
    return post(house, NATIVE, body, **({"X-DashScope-SSE": "enable"} if stream else {}))


def frames(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data:").strip() for line in response.text.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


# 16 bytes of thought, 8 of the mark's line, the answer: every byte is a token.
USED, SPENT = len(f"{THOUGHT}\n</think>{ANSWER}"), len(f"{THOUGHT}\n</think>")


def test_golden_stream_of_the_openai_protocol() -> None:
    with house() as (listening, _):
        got = frames(compat(listening, stream=True, stream_options={"include_usage": True}))
    deltas = [chunk["choices"][0]["delta"] for chunk in got if chunk["choices"]]
    thoughts = ["Let m", "e see", ".\nTwo"]
    answers = ["Ther", "e are", " two."]
    assert deltas == [
        {"content": "", "role": "assistant"},
        *({"content": None, "reasoning_content": piece} for piece in thoughts),
        *({"content": piece} for piece in answers),
        {"content": ""},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in got if chunk["choices"]] == [None] * 7 + ["stop"]
    usage = got[-1]["usage"]
    assert usage["completion_tokens"] == USED
    assert usage["completion_tokens_details"] == {"reasoning_tokens": SPENT, "text_tokens": USED - SPENT}


def test_golden_stream_of_the_native_protocol() -> None:
    with house() as (listening, _):
        response = native(listening, stream=True)
    assert response.text.startswith("id:1\nevent:result\n:HTTP_STATUS/200\ndata:")
    got = frames(response)
    messages = [frame["output"]["choices"][0]["message"] for frame in got]
    assert messages == [
        *({"content": "", "reasoning_content": piece, "role": "assistant"} for piece in ("Let m", "e see", ".\nTwo")),
        *({"content": piece, "reasoning_content": "", "role": "assistant"} for piece in ("Ther", "e are", " two.")),
        {"content": "", "reasoning_content": "", "role": "assistant"},
    ]
    assert [frame["output"]["choices"][0]["finish_reason"] for frame in got] == ["null"] * 6 + ["stop"]
    thought = [frame["usage"]["output_tokens_details"]["reasoning_tokens"] for frame in got]
    assert thought == sorted(thought)
    assert (thought[-1], got[-1]["usage"]["output_tokens"]) == (SPENT, USED)


def test_whole_in_both_protocols() -> None:
    with house(answer="Plainly two.") as (listening, engine):
        one, other = compat(listening).json(), native(listening).json()
        message = {"role": "assistant", "content": "There are two.", "reasoning_content": THOUGHT}
        assert one["choices"][0]["message"] == other["output"]["choices"][0]["message"] == message
        assert one["usage"]["completion_tokens_details"]["reasoning_tokens"] == SPENT
        assert other["usage"]["output_tokens_details"] == {"reasoning_tokens": SPENT}
        assert all(prompt.endswith("<|im_start|>assistant\n<think>\n") for prompt in engine.prompts)
        # Without the wish there is no thought, and nothing says so.
        plain = compat(listening, enable_thinking=None).json()
        assert plain["choices"][0]["message"]["content"] == "Plainly two."
        assert "reasoning_content" not in plain["choices"][0]["message"]
        assert "completion_tokens_details" not in plain["usage"]
        assert engine.prompts[-1].endswith("<think>\n\n</think>\n\n")


def test_the_sdk_reads_thoughts_and_sends_them_back() -> None:
    with house() as (listening, engine), listening.openai() as client:
        listed: Any = [USER]
        answer = client.chat.completions.create(
            model="qwen-plus", messages=listed, extra_body={"enable_thinking": True, "thinking_budget": 4000}
        )
        message: Any = answer.choices[0].message
        assert (message.reasoning_content, message.content) == (THOUGHT, "There are two.")
        listed = [USER, message, USER]
        client.chat.completions.create(model="qwen-plus", messages=listed)
        assert THOUGHT not in engine.prompts[-1], "Qwen3's template drops old thoughts"
        text, thought = "", ""
        stream: Any = client.chat.completions.create(
            model="qwen-plus", messages=[USER], stream=True, extra_body={"enable_thinking": True}
        )
        for chunk in stream:
            thought += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
            text += chunk.choices[0].delta.content or ""
        assert (thought, text) == (THOUGHT, "There are two.")


@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_budget_is_kept_to_the_token(size: int) -> None:
    with house(answer="Two.", size=size) as (listening, engine):
        for budget in (1, 4, 11, 12, 15, 16, 20, 23):
            got = compat(listening, thinking_budget=budget).json()
            message = got["choices"][0]["message"]
            cut = f"{THOUGHT}\n</think>"[:budget]
            assert message["reasoning_content"] == cut.rstrip("\n")
            assert (message["content"], got["choices"][0]["finish_reason"]) == ("Two.", "stop")
            assert got["usage"]["completion_tokens_details"] == {"reasoning_tokens": budget, "text_tokens": 4}
            line = "" if cut.endswith("\n") else "\n"
            assert engine.prompts[-1].endswith(f"<think>\n{cut}{line}</think>\n\n")


def test_a_budget_that_is_enough_changes_nothing() -> None:
    for budget in (SPENT, SPENT + 1):
        with house(answer="never said") as (listening, engine):
            message = compat(listening, thinking_budget=budget).json()["choices"][0]["message"]
            assert (message["reasoning_content"], message["content"]) == (THOUGHT, "There are two.")
            assert len(engine.prompts) == 1


def test_an_answer_may_end_inside_its_thought() -> None:
    with house() as (listening, _):
        (choice,) = compat(listening, max_tokens=7).json()["choices"]
        assert choice["finish_reason"] == "length"
        assert choice["message"] == {"role": "assistant", "content": "", "reasoning_content": "Let me "}
        (choice,) = compat(listening, max_tokens=SPENT + 5).json()["choices"]
        assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "The")


def test_a_model_that_falls_silent_inside_its_thought_is_made_to_answer() -> None:
    with house("Hm", "Two.") as (listening, engine):
        got = compat(listening).json()
        assert got["choices"][0]["message"] == {"role": "assistant", "content": "Two.", "reasoning_content": "Hm"}
        assert engine.prompts[-1].endswith("<think>\nHm\n</think>\n\n")


def test_stops_are_of_the_answer() -> None:
    with house() as (listening, _):
        message = compat(listening, stop=["two", "Two"]).json()["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == (THOUGHT, "There are ")


def test_functions_are_called_behind_the_thought() -> None:
    call = f"<tool_call>\n{W}\n</tool_call>"
    with house(f"I call it. <tool_call>\n</think>\n\n{call}", call) as (listening, engine):
        (choice,) = compat(listening, tools=TOOLS).json()["choices"]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["reasoning_content"] == "I call it. <tool_call>"
        assert arguments(choice["message"]["tool_calls"]) == [("get_weather", PARIS)]
        assert len(engine.prompts) == 2, "the answer has a form, the thought has none"


def test_a_thought_is_gone_on_with() -> None:
    with house(" it is two.\n</think>\n\nTwo.") as (listening, engine):
        begun = {"role": "assistant", "content": "", "reasoning_content": "I think", "partial": True}
        wishes: list[dict[str, Any]] = [{}, {"enable_thinking": None}]
        for fields in wishes:
            for response in (compat(listening, USER, begun, **fields), native(listening, USER, begun, **fields)):
                got = response.json()
                message = (got if "choices" in got else got["output"])["choices"][0]["message"]
                assert message == {"role": "assistant", "content": "Two.", "reasoning_content": " it is two."}
                assert engine.prompts[-1].endswith("assistant\n<think>\nI think")
        whole = begun | {"content": "There "}
        got = compat(listening, USER, whole).json()["choices"][0]
        assert engine.prompts[-1].endswith("<think>\nI think\n</think>\n\nThere ")
        assert "reasoning_content" not in got["message"]
        compat(listening, USER, whole, enable_thinking=False)
        assert engine.prompts[-1].endswith("<think>\n\n</think>\n\nThere "), "thinking is off, so there was no thought"


SIGN = "<400> InternalError.Algo.InvalidParameter: "
BEGUN = {"role": "assistant", "content": "a", "partial": True}
INSIDE = {"role": "assistant", "content": "", "reasoning_content": "a", "partial": True}
REFUSED: list[tuple[str, dict[str, Any], tuple[Any, ...], str]] = [
    (
        "both",
        {"thinking_budget": 0},
        (),
        "The thinking_budget parameter must be a positive integer and not greater than",
    ),
    ("both", {"thinking_budget": 9000}, (), "The thinking_budget parameter must be a positive integer and not greater"),
    (
        "both",
        {"response_format": {"type": "json_object"}},
        (),
        "Json mode response is not supported when enable_thinking",
    ),
    (
        "both",
        {"tools": TOOLS, "tool_choice": "required"},
        (),
        "The tool_choice parameter does not support being set to",
    ),
    ("both", {"n": 2}, (), "Range of n should be [1, 1]"),
    ("both", {"enable_search": True}, (), "This model does not support enable_search."),
    ("both", {}, (USER, BEGUN), "Partial mode is not supported when enable_thinking is true"),
    ("both", {"enable_thinking": False}, (USER, INSIDE), "reasoning_content of a partial message is not supported"),
    ("native", {"result_format": "text"}, (), 'The result_format parameter must be "message" when enable_thinking is'),
    ("stream", {"incremental_output": False}, (), 'The incremental_output parameter must be "true" when enable_think'),
]


@pytest.fixture(scope="module")
def refusing() -> Iterator[House]:
    with house() as (listening, _):
        yield listening


@pytest.mark.parametrize(("where", "fields", "messages", "said"), REFUSED)
def test_refusals(refusing: House, where: str, fields: dict[str, Any], messages: tuple[Any, ...], said: str) -> None:
    answers = [native(refusing, *messages, stream=where == "stream", **fields)]
    if where == "both":
        answers.append(compat(refusing, *messages, **fields))
    for answer in answers:
        assert answer.status_code == 400
        body = answer.json()
        assert body.get("error", body)["message"].startswith(SIGN + said)


def test_a_model_that_thinks_in_streams_only() -> None:
    with house(served=card("stream_thinking")) as (listening, _):
        refused = compat(listening)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"].endswith("must be set to false for non-streaming calls")
        assert native(listening).status_code == 400
        assert compat(listening, stream=True).status_code == native(listening, stream=True).status_code == 200


def test_a_model_that_answers_in_streams_only() -> None:
    with house(served=card("stream_only")) as (listening, _):
        for refused in (compat(listening, enable_thinking=False), native(listening, enable_thinking=False)):
            assert refused.status_code == 400
            assert "This model only support stream mode, please enable" in refused.text
        assert compat(listening, stream=True, enable_thinking=False).status_code == 200
        for wish, status in ((None, 200), (True, 200), (False, 400)):
            answer = native(listening, stream=True, enable_thinking=False, incremental_output=wish)
            assert answer.status_code == status
        assert "The incremental_output parameter of this model cannot be set to False." in answer.text


def test_a_model_that_always_thinks() -> None:
    always = TEMPLATE.rpartition("{%- if add_generation_prompt %}")[0]
    always += "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}"
    with house(served=card(template=always)) as (listening, engine):
        message = compat(listening, enable_thinking=None).json()["choices"][0]["message"]
        assert (message["reasoning_content"], message["content"]) == (THOUGHT, "There are two.")
        assert engine.prompts[-1].count("<think>") == 1, "the template opens the thought itself"
        off = compat(listening, enable_thinking=False)
        assert (
            off.json()["error"]["message"] == SIGN + "The value of the enable_thinking parameter is restricted to True."
        )
        partial = compat(listening, USER, BEGUN, enable_thinking=None)
        assert partial.json()["error"]["message"].endswith("Partial mode is not supported when enable_thinking is true")


def test_a_model_without_thoughts_reads_past_the_wish() -> None:
    with house(answer="Two.", served=replace(scripted_card("segue-scripted"), abilities=frozenset({"partial"}))) as (
        listening,
        _,
    ):
        answer = compat(listening, thinking_budget=5, n=2).json()
        assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Two."}
        inside = compat(listening, USER, INSIDE)
        assert inside.status_code == 400
        assert inside.json()["error"]["code"] == "InvalidParameter.NotSupportEnableThinking"


def test_errors_keep_their_class_in_the_sdk() -> None:
    messages: Any = [USER, BEGUN]
    with house() as (listening, _), listening.openai() as client, pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="qwen-plus", messages=messages, extra_body={"enable_thinking": True})
    assert raised.value.code == "invalid_parameter_error"
