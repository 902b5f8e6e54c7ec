"""The whole walk over the model that is served when nothing is said; its pictures are kept and looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.console import axe
from tests.console.browser import PHONE, Tab, tab
from tests.console.conftest import ADMIN
from tests.e2e.server import Server

pytestmark = pytest.mark.slow
PAGES = ("playground", "compare", "documents", "usage", "keys")
WEATHER = "What is the weather in Hangzhou now?"
TERMS = """Terms of delivery

Delivery to Norway takes three weeks. Delivery to Japan takes five weeks.
Goods are packed in wood, and each crate is numbered.
"""


@pytest.fixture
def console(browser: Browser, large: Server, shots: Path) -> Iterator[Tab]:
    """A tab, logged in as the administrator."""
    with tab(browser, large.base, ADMIN, shots / "default") as opened:
        opened.enter()
        yield opened


def test_a_prefix_is_continued_and_gone_on_with(console: Tab) -> None:
    page = console.page
    console.ask("What is the capital of France?", "The capital of Fran", temperature=0, max_tokens=24)
    assert console.text().startswith("The capital of France is Paris")
    console.shot("prefix")
    page.locator(".message textarea").fill("Write a Python function that says whether a number is prime.")
    console.act("undo").click()
    console.answer.fill("def is_prime(n):\n    if n <= 1:\n        ret")
    console.set("max_tokens", "2000")
    console.act("go").click()
    expect(console.answer).to_have_value(re.compile(r"[\s\S]{100,}"))
    console.act("stop").click()
    console.ended("stopped")
    said = console.text()
    assert said.startswith("def is_prime(n):\n    if n <= 1:\n        return")
    place = said.index("return") + 6
    console.answer.evaluate("(box, at) => { box.focus(); box.setSelectionRange(at, at); }", place)
    console.set("max_tokens", "40")
    console.act("go").click()
    console.ended()
    assert console.text().startswith(said[:place] + " False")
    console.act("tokens").click()
    page.locator(".tokens .token").nth(3).click()
    console.shot("tokens")


def test_json_schema(console: Tab) -> None:
    page = console.page
    page.get_by_label("Form of the answer").select_option("json_schema")
    page.get_by_role("button", name="Fill in an example").first.click()
    console.ask("Who first walked on the moon? Answer in JSON.", temperature=0, max_tokens=60)
    assert set(json.loads(console.text())) == {"name", "year"}
    console.shot("schema")


def test_a_function_is_called_and_its_result_read(console: Tab) -> None:
    page = console.page
    page.locator("summary", has_text="Functions").click()
    page.locator("details[open]", has=page.get_by_label("Functions it may call, as JSON")).get_by_role(
        "button", name="Fill in an example"
    ).last.click()
    page.get_by_label("Choice", exact=True).select_option("required")
    console.ask(WEATHER, temperature=0, max_tokens=80)
    expect(page.locator(".calls code")).to_contain_text("get_weather")
    expect(page.locator(".calls code")).to_contain_text("Hangzhou")
    console.shot("call")
    page.get_by_label("Choice", exact=True).select_option("auto")
    page.get_by_label("What came of it").fill("It is 31 degrees Celsius, and the sky is clear.")
    with page.expect_response(lambda told: told.url.endswith("/chat/completions")) as told:
        page.get_by_role("button", name="Send the results and go on").click()
    console.ended()
    *_, call, result = json.loads(told.value.request.post_data or "")["messages"]
    assert call["tool_calls"][0]["function"]["name"] == "get_weather"
    assert result["content"] == "It is 31 degrees Celsius, and the sky is clear."
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]
    assert console.text()
    console.shot("result")


def test_a_document_is_asked_about(console: Tab) -> None:
    page = console.page
    console.go("documents")
    console.upload("terms.txt", TERMS)
    page.get_by_label("Question").fill("How long does delivery to Norway take?")
    page.get_by_role("button", name="Ask about one file").click()
    console.ended()
    assert "three weeks" in page.locator(".said").inner_text().lower()
    assert "terms.txt" in page.locator(".passages").inner_text()
    console.shot("documents")


def test_compared(console: Tab) -> None:
    page = console.page
    console.go("compare")
    page.get_by_label("Prompt", exact=True).fill("Say in one sentence what a seam is.")
    page.get_by_role("button", name="Add one more").click()
    page.get_by_role("button", name="Add one more").click()
    for box in page.get_by_label("max_tokens").all():
        box.fill("40")
    page.get_by_role("button", name="Ask all").click()
    expect(page.locator(".state[data-state=done]")).to_have_count(4)
    assert all(page.locator(".lane .by-model").all_inner_texts())
    console.shot("compare")


def test_a_key_is_made_used_and_revoked(console: Tab, large: Server) -> None:
    page = console.page
    console.go("keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name", exact=True).fill("robot")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator(".secret").inner_text()
    console.shot("secret")
    page.get_by_role("button", name="I have it").click()
    page.wait_for_selector("dialog", state="detached")
    models = f"{large.base}/compatible-mode/v1/models"
    told = {"Authorization": f"Bearer {secret}"}
    assert httpx.get(models, headers=told, trust_env=False).status_code == 200
    page.get_by_role("button", name="Revoke robot").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.locator("[data-standing=revoked]")).to_have_count(1)
    assert httpx.get(models, headers=told, trust_env=False).status_code == 401
    console.shot("keys")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_every_page_in_both_themes_and_languages(
    browser: Browser, large: Server, shots: Path, theme: str, language: str
) -> None:
    with tab(browser, large.base, ADMIN, shots / "pages", theme=theme, language=language, script=axe.script()) as each:
        each.enter()
        each.ask("Name a colour.", "It is a", temperature=0, max_tokens=8)
        found = []
        for name in PAGES:
            each.go(name)
            each.page.wait_for_selector("main [aria-busy]", state="detached")
            found += [f"{name}: {fault}" for fault in axe.faults(each)]
            each.shot(f"{name}-{language}-{theme}")
        assert found == []
    with tab(browser, large.base, ADMIN, shots / "pages", size=PHONE, theme=theme, language=language) as phone:
        phone.enter()
        for name in PAGES:
            phone.go(name)
            phone.page.wait_for_selector("main [aria-busy]", state="detached")
            phone.fits()
            phone.shot(f"{name}-{language}-{theme}-phone")
