"""The console in a real browser, over a small real model: what it shows is what the API said."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, FilePayload, Response, Route, expect

from tests.console import axe
from tests.console.browser import PHONE, Tab, tab
from tests.console.conftest import ADMIN, SMALL
from tests.e2e.server import Server

PREFIX = "The capital of Fran"
CHAT = "/compatible-mode/v1/chat/completions"


@pytest.fixture
def console(browser: Browser, small: Server, shots: Path) -> Iterator[Tab]:
    """A tab, logged in as the administrator."""
    with tab(browser, small.base, ADMIN, shots) as opened:
        opened.enter()
        yield opened


def http(server: Server, key: str = ADMIN) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=server.base, headers=headers, timeout=60.0, trust_env=False)


def streamed(text: str) -> list[dict[str, Any]]:
    """The log probabilities of a stream."""
    frames = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    entries: list[dict[str, Any]] = []
    for frame in frames:
        for choice in frame["choices"]:
            entries += (choice["logprobs"] or {}).get("content", [])
    return entries


def stranger(server: Server) -> str:
    """A key of a workspace in which nothing was said yet."""
    with http(server) as client:
        made = client.post("/admin/v1/workspaces", json={"name": "Other", "models": [SMALL]}).json()
        key: str = client.post("/admin/v1/keys", json={"name": "other", "workspace": made["id"]}).json()["secret"]
    return key


def test_a_key_opens_the_door_and_is_kept_nowhere(browser: Browser, small: Server, shots: Path) -> None:
    with tab(browser, small.base, ADMIN, shots, refusals=(401,)) as opened:
        page = opened.page
        page.goto(f"{small.base}/console")
        page.fill("#key", "sk-wrong")
        page.press("#key", "Enter")
        expect(page.locator(".fault")).to_have_text("This key is not accepted.")
        assert page.input_value("#key") == "sk-wrong"
        assert f"{small.base}/console\n" in small.log.read_text("utf-8")
        opened.enter()
        assert "sk-" not in page.content()
        assert sum(opened.scripts.values()) < 100 * 1024
        page.reload()
        expect(page.locator("#key")).to_have_value("")
        opened.enter()
        page.get_by_role("button", name="Leave").click()
        expect(page.locator("#key")).to_be_visible()


def test_tokens_and_seam_are_what_the_api_says(console: Tab, small: Server) -> None:
    page = console.page
    answers: list[Response] = []
    page.on("response", lambda told: answers.append(told) if told.url.endswith(CHAT) else None)
    page.get_by_label("Deterministic").check()
    console.ask("What is the capital of France?", PREFIX, temperature=0, max_tokens=12)
    (answer,) = answers
    text = console.text()
    assert text.startswith(PREFIX)
    assert page.locator(".mirror .by-you").all_inner_texts() == ["The capital of", " Fran"]
    assert PREFIX + "".join(page.locator(".mirror .by-model").all_inner_texts()) == text
    facts = dict(part.split("=") for part in answer.headers["x-segue-seam"].split("; ")[1:])
    mark = page.locator(".mirror .seam")
    assert mark.get_attribute("data-at") == str(len(PREFIX))
    assert mark.get_attribute("data-back") == facts["back"] == str(len(" Fran"))
    assert page.locator(".mirror .tail").inner_text() == PREFIX[-int(facts["back"]) :]
    left = page.evaluate("document.querySelector('.mirror .seam').getBoundingClientRect().left")
    ends = page.evaluate("document.querySelector('.mirror .by-model').getClientRects()[0].left")
    assert abs(left - ends) <= 3
    assert page.locator(".certificate").get_attribute("data-certificate") == answer.headers["x-segue-seam"]
    assert "CNY" in page.locator(".facts").inner_text()

    console.act("tokens").click()
    shown = [
        (float(each.get_attribute("data-logprob") or "nan"), each.get_attribute("data-token"))
        for each in page.locator(".tokens .token").all()
    ]
    assert shown == [(each["logprob"], each["token"]) for each in streamed(answer.text())]
    assert "".join(token or "" for _, token in shown) == text[len(PREFIX) :]
    assert page.locator(".tokens .seam").get_attribute("data-at") == str(len(PREFIX))
    asked = json.loads(answer.request.post_data or "")
    with http(small, stranger(small)) as client:  # the same, of a server that has not said it before
        again = client.post(CHAT, json=asked)
    assert again.headers["x-segue-seam"] == answer.headers["x-segue-seam"]
    assert [each["logprob"] for each in streamed(again.text)] == [logprob for logprob, _ in shown]

    page.locator(".tokens .token").nth(1).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    rows = streamed(answer.text())[2]
    listed = [float(each.get_attribute("data-logprob") or "nan") for each in page.locator(".choices .number").all()]
    others = [each["logprob"] for each in rows["top_logprobs"] if each["token"] != rows["token"]]
    assert listed == [rows["logprob"], *others]
    console.shot("tokens")
    kept = PREFIX + "".join(token or "" for _, token in shown[:2])
    other = next(each["token"] for each in rows["top_logprobs"] if each["token"] != rows["token"])
    page.locator(".choices button").nth(1).click()
    console.ended()
    assert console.text().startswith(kept + other)


def test_stopped_and_gone_on_with_from_a_chosen_point(console: Tab) -> None:
    page = console.page
    page.locator(".message textarea").fill("Tell me a long story about a river.")
    console.answer.fill("Once")
    console.set("max_tokens", "2000")
    console.answer.press("Control+Enter")
    expect(console.answer).to_have_value(re.compile(r"[\s\S]{60,}"))
    page.keyboard.press("Escape")
    console.ended("stopped")
    said = console.text()
    assert len(said) > 60
    place = said.index(" ", 30) + 1  # inside a token: words carry the blank before them
    console.answer.evaluate("(box, at) => { box.focus(); box.setSelectionRange(at, at); }", place)
    expect(console.act("go")).to_contain_text("Go on from here")
    assert "".join(page.locator(".mirror .behind").all_inner_texts()) == said[place:]
    console.set("max_tokens", "8")
    with page.expect_response(lambda told: told.url.endswith(CHAT)) as told:
        console.act("go").click()
    console.ended()
    sent = json.loads(told.value.request.post_data or "")["messages"][-1]
    assert sent == {"role": "assistant", "content": said[:place], "partial": True}
    assert told.value.headers["x-segue-seam"] == "resumed"
    assert console.text().startswith(said[:place])
    assert page.locator(".mirror .seam").last.get_attribute("data-at") == str(place)
    text = console.text()
    console.act("tokens").click()
    shown = page.locator(".tokens .token").all()
    assert len(shown) >= 8
    for each in shown:
        token = each.get_attribute("data-token") or ""
        assert token.startswith("bytes:") or each.inner_text().replace("⏎", "\n") == token
    assert page.locator(".tokens .seam").count() == 2
    assert page.locator(".tokens").inner_text().replace("⏎", "").strip() == text.strip()
    console.act("undo").click()
    assert console.text() == said


def test_candidates_and_what_is_copied(console: Tab) -> None:
    page = console.page
    page.get_by_label("Candidates (n)").select_option("3")
    console.ask("Name a colour, don't explain.", "It is", temperature=1, max_tokens=6)
    lanes = page.locator(".lane .by-model").all_inner_texts()
    assert len(lanes) == 3
    console.shot("candidates")
    page.locator("[data-take='2']").click()
    assert console.text() == "It is" + lanes[2]
    console.act("copy").click()
    made = {}
    for name in ("curl", "Python · openai", "Python · dashscope", "Node · openai"):
        page.get_by_role("tab", name=name).click()
        made[name] = page.locator(".snippet").inner_text()
        assert ADMIN not in made[name]
    for name in ("Python · openai", "Python · dashscope"):
        compile(made[name], name, "exec")
    done = subprocess.run(
        [*shlex.split("env NO_PROXY=* DASHSCOPE_API_KEY=" + ADMIN), "bash", "-c", made["curl"]],
        capture_output=True,
        timeout=60,
        check=True,
    )
    told = json.loads(done.stdout)
    assert len(told["choices"]) == 3
    page.get_by_role("button", name="Close").click()


def test_compared_and_kept_apart(console: Tab) -> None:
    page = console.page
    console.go("compare")
    page.get_by_label("Prompt", exact=True).fill("Say hello.")
    page.get_by_role("button", name="Add one more").click()
    for box in page.get_by_label("max_tokens").all():
        box.fill("6")
    page.get_by_role("button", name="Ask all").click()
    expect(page.locator(".state[data-state=done]")).to_have_count(3)
    assert all(page.locator(".lane .by-model").all_inner_texts())
    console.shot("compare")


def test_a_document_is_read_and_asked_about(console: Tab) -> None:
    page = console.page
    console.go("documents")
    text = "Delivery takes three weeks.\n"
    console.upload("terms.txt", text)
    page.get_by_role("button", name="Pages of terms.txt").click()
    expect(page.locator(".page")).to_have_text("Delivery takes three weeks.")
    page.keyboard.press("Escape")
    page.get_by_label("Question").fill("How long does delivery take?")
    page.get_by_role("button", name="Ask about one file").click()
    console.ended()
    assert "terms.txt" in page.locator(".passages").inner_text()
    console.shot("documents")
    page.get_by_role("button", name="Delete terms.txt").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are no files yet.")).to_be_visible()


def test_files_and_images_go_with_the_messages(browser: Browser, small: Server, shots: Path) -> None:
    """No small model sees: the page is told that one does, and shows how it is refused."""

    def seeing(route: Route) -> None:
        told = route.fetch()
        body = told.json()
        body["models"][SMALL]["abilities"].append("vision")
        route.fulfill(response=told, json=body)

    with tab(browser, small.base, ADMIN, shots, refusals=(400,)) as opened:
        page = opened.page
        page.route("**/console/session", seeing)
        opened.enter()
        page.get_by_label("Model", exact=True).select_option("qwen-long")
        text = FilePayload(name="terms.txt", mimeType="text/plain", buffer=b"Delivery takes three weeks.")
        page.get_by_label("Add a file", exact=True).set_input_files(text)
        expect(page.locator(".chip")).to_contain_text("terms.txt · read")
        opened.set("max_tokens", "4")
        page.locator(".message textarea").fill("How long does delivery take?")
        with page.expect_request(lambda asked: asked.url.endswith(CHAT)) as asked:
            opened.act("go").click()
        opened.ended()
        _, file, _ = json.loads(asked.value.post_data or "")["messages"]
        assert re.fullmatch("fileid://file-fe-[0-9a-f]{24}", file["content"])

        page.get_by_role("button", name="Remove terms.txt").click()
        image = FilePayload(name="dot.png", mimeType="image/png", buffer=b"\x89PNG")
        page.get_by_label("Add an image", exact=True).set_input_files(image)
        expect(page.get_by_role("img", name="Image 1")).to_be_attached()
        with page.expect_request(lambda asked: asked.url.endswith(CHAT)) as asked:
            opened.act("go").click()
        opened.ended("failed")
        picture, said = json.loads(asked.value.post_data or "")["messages"][0]["content"]
        assert picture == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
        assert said["text"] == "How long does delivery take?"
        expect(page.get_by_role("alert").last).not_to_be_empty()


def test_a_key_is_made_and_revoked(console: Tab, small: Server) -> None:
    page = console.page
    console.go("keys")
    page.get_by_role("button", name="New workspace").click()
    page.get_by_label("Name", exact=True).fill("Team A")
    page.get_by_label("Id", exact=True).fill("team-a")
    page.get_by_label("Models it may use").fill(f"{SMALL}, qwen-plus")
    page.get_by_text("Limits", exact=True).last.click()
    page.get_by_label("requests_per_minute").fill("60")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("row", name="Team A team-a")).to_contain_text("requests_per_minute 60")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name", exact=True).fill("robot")
    page.get_by_label("Workspace", exact=True).select_option("team-a")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator(".secret").inner_text()
    page.get_by_role("button", name="I have it").click()
    page.wait_for_selector("dialog", state="detached")
    assert secret not in page.content()
    with http(small, secret) as client:
        assert client.get("/console/session").json()["workspace"] == "team-a"
        page.get_by_role("button", name="Change robot").click()
        page.get_by_label("Role", exact=True).select_option("read-only")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("row", name="robot")).to_contain_text("read-only")
        while client.get("/console/session").json()["role"] != "read-only":
            page.wait_for_timeout(100)  # servers look for changes now and then
        assert client.post(CHAT, json={"model": SMALL, "messages": []}).status_code == 403
        page.get_by_role("button", name="Revoke robot").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        expect(page.locator("[data-standing=revoked]")).to_have_count(1)
        assert client.get("/console/session").status_code == 401


def used(server: Server) -> str:
    """How many requests the API says there were."""
    with http(server) as client:
        return str(sum(row["requests"] for row in client.get("/admin/v1/usage").json()["rows"]))


def test_what_was_used_is_plotted(console: Tab, small: Server) -> None:
    console.ask("Say hello.", max_tokens=4)
    page = console.page
    for _ in range(20):  # records are entered a little later
        before = used(small)
        console.go("playground")
        console.go("usage")
        page.wait_for_selector("svg")
        shown = page.locator(".tiles dd").first.inner_text()
        if before != "0" and before == used(small):
            break
        page.wait_for_timeout(500)
    assert shown == before
    assert page.locator("svg").count() == 4
    assert page.locator("svg rect").count() >= 2
    assert SMALL in page.locator("table").first.inner_text()
    page.get_by_label("By").select_option("key")
    expect(page.get_by_role("region", name="Key")).to_contain_text("key-admin")


def test_a_phone_in_chinese(browser: Browser, small: Server, shots: Path) -> None:
    with tab(browser, small.base, ADMIN, shots, size=PHONE, language="zh-CN", theme="dark") as phone:
        phone.enter()
        assert phone.page.evaluate("document.documentElement.lang") == "zh-CN"
        phone.page.locator(".parameters summary").first.click()
        phone.ask("你好", "春天", max_tokens=6)
        for name in ("playground", "compare", "documents", "usage", "keys"):
            phone.go(name)
            phone.page.wait_for_selector("main [aria-busy]", state="detached")
            phone.fits()
        phone.shot("phone")


def test_nobody_is_kept_out(browser: Browser, small: Server, shots: Path) -> None:
    """Both themes, both languages and every page: `test_whole`."""
    with tab(browser, small.base, ADMIN, shots, script=axe.script()) as opened:
        opened.page.goto(f"{small.base}/console")
        found = list(axe.faults(opened))
        opened.enter()
        opened.ask("Name a colour.", "It is a", max_tokens=4)
        found += axe.faults(opened)
        opened.act("tokens").click()
        opened.page.locator(".tokens .token").first.click()
        found += axe.faults(opened)
        opened.go("keys")
        opened.page.wait_for_selector("table")
        found += axe.faults(opened)
        assert found == []
