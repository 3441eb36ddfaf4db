"""A real Chromium for these tests, or a loud skip that says which one was looked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import APIRequestContext, Browser, BrowserContext, Page, Playwright, sync_playwright

DEBIAN = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


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
    path = os.environ.get("TENURE_CHROMIUM", DEBIAN)
    if not Path(path).is_file():
        pytest.skip(f"BROWSER TESTS SKIPPED: no browser at {path}; set TENURE_CHROMIUM or install chromium")
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


@pytest.fixture
def api(playwright: Playwright, stack) -> Iterator[APIRequestContext]:
    """The HTTP API as the admin, outside the browser: it stays online when the browser does not."""
    door = playwright.request.new_context(base_url=stack.url)
    signed_in = door.post(
        "/api/v1/auth/login",
        data={"email": stack.admin_email, "password": stack.admin_password, "transport": "body"},
    )
    assert signed_in.ok, signed_in.text()
    token = signed_in.json()["access_token"]
    door.dispose()
    admin = playwright.request.new_context(
        base_url=stack.url, extra_http_headers={"Authorization": f"Bearer {token}"}
    )
    yield admin
    admin.dispose()
