"""The integrations and their breakers in a real browser against a running stack."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tenure.standins.httpserver import Reply, Request
from tests.browser.conftest import Tab
from tests.browser.test_console import go_to, remember_page, sign_in, unexpected, was_not_reloaded
from tests.support.receiver import Receiver
from tests.support.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

FOLLOWED_MS = 60_000
# Thirty seconds of rest, then a delivery that waited asks; its turn may come late on a loaded machine.
CLOSED_MS = 180_000


class Endpoint(Receiver):
    """Somebody's webhook endpoint, which a test may break."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.broken = threading.Event()

    def _reply(self, _request: Request) -> Reply:
        return Reply(500 if self.broken.is_set() else 200)


@pytest.fixture
def endpoint(stack: Stack) -> Iterator[tuple[Endpoint, str]]:
    """An endpoint and the name of its integration."""
    with Endpoint() as made:
        given = stack.api("POST", "/webhook-endpoints", {"url": made.url, "types": ["subscription.*"]})
        yield made, f"webhook:{given['id']}"
        stack.api("DELETE", f"/webhook-endpoints/{given['id']}")


@pytest.fixture
def second(chromium: Browser) -> Iterator[Page]:
    """Another person's browser."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    yield context.new_page()
    context.close()


def row_of(page: Page, name: str) -> Locator:
    table = page.get_by_test_id("integrations")
    return table.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def subscribe(stack: Stack, count: int) -> None:
    """So many subscriptions, each of which is told to the endpoints."""
    name = uuid.uuid4().hex[:12]
    stack.api(
        "POST",
        "/plans",
        {
            "code": f"plan-{name}",
            "name": "Monthly",
            "price": {"amount_minor": 999, "currency": "USD"},
            "interval": {"unit": "month", "count": 1},
        },
    )
    for number in range(count):
        customer = stack.api(
            "POST", "/customers", {"external_id": f"{name}-{number}", "email": "a@b.example"}
        )
        stack.api("POST", "/subscriptions", {"customer_id": customer["id"], "plan_code": f"plan-{name}"})


def test_a_breaker_that_opens_and_closes_by_itself_shows_without_a_reload(
    stack: Stack, tab: Tab, endpoint: tuple[Endpoint, str]
):
    receiver, name = endpoint
    page = tab.page
    sign_in(page, stack, "/integrations")
    remember_page(page)
    row = row_of(page, name)
    expect(row).to_contain_text("closed")
    expect(row).to_contain_text("held nothing back")
    receiver.broken.set()
    subscribe(stack, 8)
    expect(row).to_contain_text(re.compile("asks again|asks whether it is back"), timeout=CLOSED_MS)
    assert len(receiver.requests) >= 5
    expect(row).to_contain_text(re.compile(r"opened \d+ time"))
    expect(row).to_contain_text("degraded")
    expect(row).to_contain_text("500")
    receiver.broken.clear()
    expect(row).to_contain_text("closed", timeout=CLOSED_MS)
    expect(row).not_to_contain_text("asks again")
    assert was_not_reloaded(page)
    assert unexpected(tab) == []


def test_a_breaker_forced_with_its_reason_shows_live_to_everybody_and_so_does_its_release(
    stack: Stack, tab: Tab, second: Page, endpoint: tuple[Endpoint, str]
):
    _receiver, name = endpoint
    page = tab.page
    sign_in(page, stack, "/integrations")
    sign_in(second, stack, "/integrations")
    for seen in (page, second):
        expect(row_of(seen, name)).to_contain_text("closed")
        remember_page(seen)
    page.get_by_role("button", name=f"Force {name}").click()
    dialog = page.get_by_role("dialog")
    send = dialog.get_by_role("button", name="Force", exact=True)
    expect(send).to_be_disabled()
    reason = f"they move house {uuid.uuid4().hex[:8]}"
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_label("How long").select_option(label="10 minutes")
    send.click()
    expect(dialog).to_have_count(0)
    for seen in (page, second):
        row = row_of(seen, name)
        expect(row).to_contain_text("forced open", timeout=FOLLOWED_MS)
        expect(row).to_contain_text(reason)
        expect(row).to_contain_text(f"by {stack.admin_email} until")
        expect(row).to_contain_text("left to itself: closed")
    shown = next(one for one in stack.api("GET", "/integrations")["items"] if one["name"] == name)
    assert shown["breaker"]["forced"]["state"] == "open"
    second.get_by_role("button", name=f"Release {name}").click()
    second.get_by_role("dialog").get_by_role("button", name="Release").click()
    for seen in (page, second):
        expect(row_of(seen, name)).not_to_contain_text("forced", timeout=FOLLOWED_MS)
        assert was_not_reloaded(seen)
    assert unexpected(tab) == []


def test_a_connection_is_tried_for_real_and_its_answer_is_told_in_words(
    stack: Stack, tab: Tab, endpoint: tuple[Endpoint, str]
):
    receiver, name = endpoint
    page = tab.page
    sign_in(page, stack, "/integrations")
    row = row_of(page, name)
    row.get_by_role("button", name=f"Test {name}").click()
    expect(row.get_by_role("status")).to_contain_text("works")
    expect(row.get_by_role("status")).to_contain_text("answered 200")
    receiver.broken.set()
    row.get_by_role("button", name=f"Test {name}").click()
    expect(row.get_by_role("status")).to_contain_text("fails")
    expect(row.get_by_role("status")).to_contain_text("answered 500")
    assert [request.method for request in receiver.requests] == ["HEAD", "HEAD"]
    # What is not set up has nothing to try.
    unset = row_of(page, "telegram")
    expect(unset).to_contain_text("not set up")
    expect(unset.get_by_role("button", name="Test telegram")).to_be_disabled()
    assert unexpected(tab) == []


@pytest.mark.parametrize(("role", "words"), [("viewer", ()), ("operator", ("Test",))])
def test_only_an_admin_forces_and_a_viewer_does_not_even_test(
    stack: Stack, tab: Tab, endpoint: tuple[Endpoint, str], role: str, words: tuple[str, ...]
):
    email, password = f"{role}-{uuid.uuid4().hex[:8]}@example.com", uuid.uuid4().hex
    stack.api("POST", "/users", {"email": email, "role": role, "password": password})
    page = tab.page
    page.goto(f"{stack.url}/integrations")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(row_of(page, endpoint[1])).to_contain_text("closed")
    table = page.get_by_test_id("integrations")
    for word in ("Test", "Force", "Release"):
        found = table.get_by_role("button", name=re.compile(f"^{word}"))
        if word in words:
            expect(found).not_to_have_count(0)
        else:
            expect(found).to_have_count(0)
    assert unexpected(tab) == []


def test_the_keyboard_reaches_the_integrations_and_a_narrow_screen_does_not_scroll_sideways(
    stack: Stack, tab: Tab, endpoint: tuple[Endpoint, str]
):
    page = tab.page
    sign_in(page, stack)
    go_to(page, "i", "/integrations")
    expect(page.get_by_role("heading", name="Integrations").first).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    expect(row_of(page, endpoint[1])).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    boxes = [box for box in (link.bounding_box() for link in links.all()) if box is not None]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes), boxes
    assert unexpected(tab) == []
