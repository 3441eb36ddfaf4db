"""A real Chromium for these tests, or a loud skip that says which one was looked for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.support.services import ROOT
from tests.support.stack import Stack, running_stack

DEBIAN = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# How long what is expected may take to show: a machine that stalls is slow, not wrong.
expect.set_options(timeout=60_000)
# Runs that are looked at while they run last longer than the five seconds that this job has by itself.
JOBS = {"sleep": {"soft_s": 60, "hard_s": 70}}


@dataclass(slots=True)
class Tab:
    """One page of one browser profile, and what the browser complained about in it."""

    page: Page
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM", DEBIAN)
    if not Path(path).is_file():
        pytest.skip(f"BROWSER TESTS SKIPPED: no browser at {path}; set CHROMIUM or install chromium")
    browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
    yield browser
    browser.close()


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Tab]:
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    opened = Tab(context.new_page(), context)

    def heard(kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            opened.complaints.append(text)

    opened.page.on("console", lambda message: heard(message.type, f"{message.text} {message.location}"))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    yield opened
    context.close()


@pytest.fixture(scope="session")
def stack(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of these tests' own. It asks for the browser first: without one nothing is started."""
    assert (ROOT / "web/static/console/index.html").is_file(), "build the console: python3 dev.py console"
    unlimited = {"login_per_min": 0, "run_per_min": 0, "api_per_min": 0, "ws_handshakes_per_min": 0}
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, TENURE_LIMITS=json.dumps(unlimited), TENURE_JOBS=json.dumps(JOBS)) as running:
        yield running
