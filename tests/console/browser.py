"""A real browser over a real server: Debian's Chromium, driven by Playwright.

Laws: whatever a page reports as an error, asks of another host, or keeps of the key, fails the test that opened it;
pictures go to the folder that `CONSOLE_SHOTS` names, else to pytest's own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, FilePayload, Locator, Page, Response, expect, sync_playwright

WAIT_S = 240.0
INSTALL_S = 500.0
NAMES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP = (1280, 900)
PHONE = (390, 844)
expect.set_options(timeout=WAIT_S * 1000)


def chromium() -> str:
    """The path of the system's Chromium; installed where that can be done, else the test is skipped."""
    if (found := _found()) is not None:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("there is no chromium, and only root on Debian could install it: apt-get install chromium")
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
    for command in (["apt-get", "update", "-qq"], install):
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode != 0:
            pytest.skip(f"there is no chromium, and {' '.join(command)} failed: {done.stderr.strip()[-300:]}")
    return _found() or pytest.skip("chromium was installed and is not found")


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    path = chromium()
    with sync_playwright() as playwright:
        # Containers and root have no user namespaces for the sandbox; what is opened is our own page.
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield opened
        finally:
            opened.close()


@dataclass
class Tab:
    """A page of the console, and what was noticed of it."""

    page: Page
    base: str
    key: str
    shots: Path
    troubles: list[str] = field(default_factory=list)
    scripts: dict[str, int] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    """Statuses that this test brings about; Chromium reports each as an error."""

    def shot(self, name: str) -> None:
        """Keep a picture."""
        self.shots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self.shots / f"{name}.png", full_page=True)

    def enter(self) -> None:
        """Log in."""
        self.page.goto(f"{self.base}/console")
        self.page.fill("#key", self.key)
        self.page.press("#key", "Enter")
        expect(self.page.locator("h1")).not_to_have_text("", timeout=WAIT_S * 1000)
        self.page.wait_for_selector("nav", timeout=WAIT_S * 1000)

    def go(self, name: str) -> None:
        """Open a page of the console, without loading it anew."""
        self.page.evaluate(f"location.hash = '#/{name}'")
        self.page.wait_for_selector(f"nav a[href='#/{name}'][aria-current=page]")
        self.page.wait_for_selector("h1")

    def set(self, label: str, value: str) -> None:
        """Fill in a number of the parameters."""
        self.page.get_by_label(label, exact=True).first.fill(value)

    @property
    def answer(self) -> Locator:
        """The text that two write."""
        return self.page.locator(".editor textarea")

    def text(self) -> str:
        """What it has."""
        return self.answer.input_value()

    def act(self, name: str) -> Locator:
        """A button of the toolbar."""
        return self.page.locator(f"[data-act={name}]")

    def ended(self, states: str = "done") -> None:
        """Wait until the answer has ended."""
        self.page.wait_for_selector(f".state[data-state={states}]", timeout=WAIT_S * 1000)

    def ask(self, question: str, prefix: str = "", **numbers: object) -> None:
        """Ask in the playground, and wait for the end."""
        self.page.locator(".message textarea").first.fill(question)
        self.answer.fill(prefix)
        for name, value in numbers.items():
            self.set(name, str(value))
        self.act("go").click()
        self.ended()

    def upload(self, name: str, text: str) -> None:
        """Give the page a file of its own kind, and wait until it was read."""
        sent = FilePayload(name=name, mimeType="text/plain", buffer=text.encode())
        self.page.set_input_files("input[type=file]", sent)
        self.page.wait_for_selector("[data-status=processed]")

    def fits(self) -> None:
        """Nothing is cut off at the side."""
        wide = self.page.evaluate("[document.documentElement.scrollWidth, visualViewport.width, screen.width]")
        assert wide[0] <= wide[1] + 1, wide
        assert wide[0] <= max(wide[2], DESKTOP[0]), wide


@contextmanager
def tab(
    browser: Browser,
    base: str,
    key: str,
    shots: Path,
    size: tuple[int, int] = DESKTOP,
    theme: str = "light",
    language: str = "en-US",
    script: str = "",
    refusals: tuple[int, ...] = (),
) -> Iterator[Tab]:
    """A fresh tab; what is wrong with it is told at its end."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if theme == "dark" else "light",
        locale=language,
        is_mobile=size == PHONE,
        has_touch=size == PHONE,
        accept_downloads=False,
    )
    context.set_default_timeout(WAIT_S * 1000)
    if script:
        context.add_init_script(script)
    page = context.new_page()
    opened = Tab(page, base, key, shots, refusals=refusals)
    host = urlsplit(base).netloc

    def noticed(response: Response) -> None:
        if response.url.endswith(".js"):
            opened.scripts[response.url.rpartition("/")[2]] = len(response.body())

    page.on("request", lambda asked: _strange(opened, asked.url, host))
    page.on("response", noticed)
    page.on("pageerror", lambda error: opened.troubles.append(f"error: {error}"))
    page.on("console", lambda told: _told(opened, told.type, told.text))
    try:
        yield opened
        kept = page.evaluate("[location.href, document.cookie, JSON.stringify({...localStorage, ...sessionStorage})]")
        assert not any(key in each for each in kept)
        assert opened.troubles == [], opened.troubles
    finally:
        context.close()


def _strange(tab: Tab, url: str, host: str) -> None:
    parts = urlsplit(url)
    if parts.scheme in ("data", "blob"):
        return
    if parts.netloc != host:
        tab.troubles.append(f"asked of another host: {url}")
    if tab.key in url:
        tab.troubles.append(f"the key is in an address: {url}")


def _told(tab: Tab, kind: str, text: str) -> None:
    expected = any(re.search(rf"status of {status}\b", text) for status in tab.refusals)
    if kind in ("error", "warning") and not expected:
        tab.troubles.append(f"{kind}: {text}")
