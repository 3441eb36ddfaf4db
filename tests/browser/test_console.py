"""The console in a real browser against a running stack."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import uuid
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.browser.conftest import Tab
from tests.support.stack import Stack
from tests.support.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LIVE = re.compile(r"^Live")
# Before anybody has signed in, asking whether somebody is is answered 401; the browser notes it.
EXPECTED = re.compile(r"status of 401 .*'/?.*auth/(refresh|login)'")
AWAY = re.compile(r"ERR_INTERNET_DISCONNECTED")
# What a browser says of a server that is just starting, or stopping with requests under way.
REFUSED = re.compile(
    "ERR_CONNECTION_|ERR_EMPTY_RESPONSE|status of 503|response code: 503"
    "|before receiving a handshake|before the connection is established"
)
ENDED_MS = 60_000


def sign_in(page: Page, stack: Stack, path: str = "/") -> None:
    page.goto(stack.url + path)
    expect(page.get_by_label("Email")).to_be_focused()
    page.get_by_label("Email").fill(stack.admin_email)
    page.get_by_label("Password").fill(stack.admin_password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_test_id("connection")).to_contain_text("Live")


def go_to(page: Page, letter: str, path: str) -> None:
    """The screen that `g` and this letter lead to, whose address has the path (a pattern).

    `g` waits a second for its letter; where the machine stalled for longer, both are pressed again.
    """

    def is_there() -> bool:
        page.keyboard.press("g")
        page.keyboard.press(letter)
        with contextlib.suppress(PlaywrightTimeout):
            page.wait_for_url(re.compile(path), timeout=5_000)
            return True
        return False

    until(is_there, what=f"g {letter} leads to {path}")


def remember_page(page: Page) -> None:
    page.evaluate("window.neverReloaded = true")


def web_pid(stack: Stack) -> int | None:
    """The process that serves now; None while there is none that is ready."""
    roles = json.loads(stack.command("status", "--json").stdout)["roles"]
    web = next(role for role in roles if role["name"] == "web")
    return int(web["pid"]) if web["state"] == "ready" else None


def was_not_reloaded(page: Page) -> bool:
    return bool(page.evaluate("window.neverReloaded === true"))


def unexpected(tab: Tab, *also: re.Pattern[str]) -> list[str]:
    allowed = (EXPECTED, *also)
    return [text for text in tab.complaints if not any(one.search(text) for one in allowed)]


@pytest.fixture
def subscription(stack: Stack) -> dict[str, Any]:
    """A trialing subscription of a customer of its own."""
    name = uuid.uuid4().hex[:12]
    stack.api(
        "POST",
        "/plans",
        {
            "code": f"plan-{name}",
            "name": "Monthly",
            "price": {"amount_minor": 999, "currency": "USD"},
            "interval": {"unit": "month", "count": 1},
            "trial_days": 7,
            "grace_hours": 72,
            "reminders": [],
            "auto_renew": False,
        },
    )
    # What a customer is called is shown as text, whatever it is.
    customer = stack.api(
        "POST", "/customers", {"external_id": f"<img src=x>{name}", "email": f"{name}@example.com"}
    )
    made: dict[str, Any] = stack.api(
        "POST",
        "/subscriptions",
        {"customer_id": customer["id"], "plan_code": f"plan-{name}", "trial": True},
    )
    return made


def test_a_wrong_password_is_refused_in_words_and_leaves_nothing_behind(stack: Stack, tab: Tab):
    page = tab.page
    page.goto(stack.url)
    page.get_by_label("Email").fill(stack.admin_email)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The email or the password is wrong.")
    assert tab.context.cookies() == []
    assert unexpected(tab) == []


def test_a_run_appears_live_on_the_overview_without_a_reload(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack)
    remember_page(page)
    page.get_by_role("button", name="Table").click()
    page.get_by_label("Job").first.select_option("sleep")
    page.get_by_role("button", name="Run now").click()
    scope = f"ok:0.2{uuid.uuid4().int % 10**6:06d}"
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Job").select_option("sleep")
    dialog.get_by_label("Scope").fill(scope)
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog.get_by_text("over the live connection")).to_be_visible()
    expect(dialog.get_by_text("Ended: ok")).to_be_visible(timeout=ENDED_MS)
    dialog.get_by_role("button", name="Open the iteration").click()
    drawer = page.get_by_test_id("drawer")
    expect(drawer).to_contain_text("the worker's child process itself")
    row = page.get_by_test_id("iterations").get_by_role("row").filter(has_text=scope)
    expect(row).to_have_count(1)
    expect(row).to_contain_text("ok")
    assert was_not_reloaded(page)
    assert unexpected(tab) == []


def test_the_timeline_draws_and_its_place_is_in_the_address(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack)
    lanes = page.get_by_role("img", name=re.compile("Iterations of"))
    expect(lanes).to_be_visible()
    page.get_by_role("button", name="1 h", exact=True).click()
    expect(page).to_have_url(re.compile(r"range=1h"))
    page.reload()
    expect(page.get_by_role("button", name="1 h", exact=True)).to_have_attribute("aria-pressed", "true")
    # The arrow keys reach a bar without a mouse.
    page.get_by_role("button", name="All", exact=True).click()
    expect(page).to_have_url(re.compile(r"internal=true"))
    lanes.focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("img", name=re.compile(r"Lane: activation, [1-9]"))).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_test_id("drawer")).to_be_visible()
    assert unexpected(tab) == []


def test_the_connection_returns_after_the_network_was_away_and_nothing_is_missed(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack, "/?view=table&job=sleep")
    remember_page(page)
    connection = page.get_by_test_id("connection")
    tab.context.set_offline(True)
    expect(connection).to_have_attribute("data-state", re.compile("RECONNECTING|CONNECTING"))
    expect(connection).not_to_contain_text(LIVE)
    expect(connection).to_contain_text(re.compile(r"Reconnecting [1-5]/5"))
    # It happens while nobody is listening.
    scope = f"ok:0.1{uuid.uuid4().int % 10**6:06d}"
    slot = stack.api("POST", "/jobs/sleep/runs", {"scope": scope})["slot_id"]

    def has_ended() -> bool:
        found = stack.api("GET", f"/iterations?slot={slot}")["items"]
        return bool(found) and found[0]["ended_at"] is not None

    until(has_ended, what="it has ended")
    row = page.get_by_test_id("iterations").get_by_role("row").filter(has_text=scope)
    expect(row).to_have_count(0)
    tab.context.set_offline(False)
    expect(connection).to_contain_text("Live")
    expect(row).to_have_count(1)
    assert was_not_reloaded(page)
    assert unexpected(tab, AWAY) == []


def test_a_run_asked_for_offline_is_sent_once_when_the_network_is_back(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack, "/schedules")
    remember_page(page)
    connection = page.get_by_test_id("connection")
    tab.context.set_offline(True)
    expect(connection).to_have_attribute("data-state", re.compile("RECONNECTING|CONNECTING"))
    scope = f"ok:0.1{uuid.uuid4().int % 10**6:06d}"
    page.get_by_role("button", name="Run sleep").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Scope").fill(scope)
    dialog.get_by_role("button", name="Run", exact=True).click()
    expect(dialog).to_contain_text("It will be sent once")
    expect(connection).to_contain_text("1 waiting")
    tab.context.set_offline(False)
    expect(dialog.get_by_role("button", name="Open the iteration")).to_be_visible(timeout=45_000)
    expect(connection).not_to_contain_text("waiting")
    assert len(stack.api("GET", f"/slots?scope={scope}")["items"]) == 1
    assert was_not_reloaded(page)
    assert unexpected(tab, AWAY) == []


def test_sixty_runs_that_waited_are_carried_out_once_each_and_are_not_taken_for_a_flood(
    stack: Stack, tab: Tab
):
    page = tab.page
    sign_in(page, stack)
    mark = f"{uuid.uuid4().int % 10**6:06d}"
    scopes = {f"ok:0.0{mark}{number:02d}" for number in range(60)}
    queued_at = page.evaluate("Date.now()")
    commands = [
        {"key": uuid.uuid4().hex, "job": "sleep", "scope": scope, "queuedAt": queued_at} for scope in scopes
    ]
    page.evaluate("text => sessionStorage.setItem('tenure.waiting-commands', text)", json.dumps(commands))
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.reload()
    connection = page.get_by_test_id("connection")

    def carried_out() -> list[str]:
        slots = [one["scope"] for one in stack.api("GET", "/slots?job=sleep&limit=200")["items"]]
        return sorted(one for one in slots if one in scopes)

    # That they wait is shown for some seconds only; that they were sent stays.
    until(lambda: set(carried_out()) == scopes, what="all of them are carried out")
    expect(connection).to_have_attribute("data-state", "OPEN")
    expect(connection).not_to_contain_text("waiting")
    assert page.evaluate("sessionStorage.getItem('tenure.waiting-commands')") == "[]"
    assert len(sockets) == 1, "the server cut the connection"
    assert carried_out() == sorted(scopes)
    assert unexpected(tab) == []


def test_what_waited_for_somebody_else_is_not_sent_for_who_signs_in_next(stack: Stack, tab: Tab):
    page = tab.page
    scope = f"ok:0.1{uuid.uuid4().int % 10**6:06d}"
    page.goto(stack.url)
    expect(page.get_by_label("Email")).to_be_focused()
    command = {
        "key": uuid.uuid4().hex,
        "job": "sleep",
        "scope": scope,
        "queuedAt": page.evaluate("Date.now()"),
    }
    page.evaluate("text => sessionStorage.setItem('tenure.waiting-commands', text)", json.dumps([command]))
    sign_in(page, stack)
    expect(page.get_by_test_id("connection")).not_to_contain_text("waiting")
    assert page.evaluate("sessionStorage.getItem('tenure.waiting-commands')") == "[]"
    assert stack.api("GET", f"/slots?scope={scope}")["items"] == []
    assert unexpected(tab) == []


def test_a_restarted_web_process_is_found_again_without_signing_in(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack)
    remember_page(page)
    before = web_pid(stack)
    assert before is not None
    os.kill(before, signal.SIGTERM)
    connection = page.get_by_test_id("connection")
    expect(connection).not_to_have_attribute("data-state", "OPEN")
    until(lambda: web_pid(stack) not in {None, before}, within_s=90, what="a new web process")
    expect(connection).to_have_attribute("data-state", "OPEN")
    assert was_not_reloaded(page)
    assert unexpected(tab, REFUSED) == []


def test_a_subscription_shows_its_timeline_and_follows_what_others_do(
    stack: Stack, tab: Tab, subscription: dict[str, Any]
):
    page = tab.page
    sign_in(page, stack, "/subscriptions")
    expect(page.get_by_test_id("subscriptions")).to_contain_text(subscription["id"])
    page.goto(f"{stack.url}/subscriptions/{subscription['id']}")
    timeline = page.get_by_test_id("timeline")
    expect(timeline).to_contain_text("subscription · created")
    expect(page.get_by_role("heading", name=subscription["external_id"])).to_be_visible()
    expect(page.get_by_test_id("connection")).to_contain_text("Live")
    remember_page(page)
    stack.api("POST", f"/subscriptions/{subscription['id']}/pause", {})
    expect(page.get_by_text("paused", exact=True).first).to_be_visible(timeout=15_000)
    expect(timeline).to_contain_text("subscription · paused")
    # And what the operator does here.
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible(timeout=15_000)
    expect(timeline).to_contain_text("subscription · resumed")
    assert was_not_reloaded(page)
    assert unexpected(tab) == []


def test_a_reload_stays_signed_in_and_signing_out_ends_it(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack)
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "ey" not in stored, "a token was stored"
    page.reload()
    expect(page.get_by_test_id("connection")).to_contain_text("Live")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Email")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Email")).to_be_visible()
    assert unexpected(tab) == []


def test_the_keyboard_moves_between_screens_and_explains_itself(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack)
    go_to(page, "s", "/subscriptions")
    expect(page.get_by_label("Customer")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Customer")).to_be_focused()
    page.get_by_label("Customer").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Go to the overview")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    go_to(page, "o", "/($|\\?)")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    assert unexpected(tab) == []


def test_a_narrow_screen_has_its_navigation_at_the_bottom_and_does_not_scroll_sideways(
    stack: Stack, tab: Tab
):
    page = tab.page
    page.set_viewport_size({"width": 390, "height": 844})
    sign_in(page, stack)
    box = page.get_by_role("navigation", name="Main").bounding_box()
    assert box is not None
    assert box["y"] > 700
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert unexpected(tab) == []
