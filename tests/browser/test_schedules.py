"""Schedules, slots and the detail of an iteration in a real browser against a running stack."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Tab
from tests.browser.test_console import go_to, remember_page, sign_in, unexpected, was_not_reloaded
from tests.support.stack import Stack
from tests.support.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

STARTED_MS = 60_000
# A field that the server refuses is an answer of 422; the browser notes it.
UNPROCESSABLE = re.compile("status of 422")
MISSING = re.compile("status of 404")


def row_of(page: Page, job: str) -> Locator:
    return page.get_by_test_id("schedules").get_by_role("row").filter(has=page.get_by_text(job, exact=True))


@pytest.fixture
def as_installed(stack: Stack) -> Iterator[None]:
    yield
    for job in ("reminders", "expiry"):
        stack.api("POST", f"/schedules/{job}/resume")
        stack.api("PATCH", f"/schedules/{job}", {"every_s": None, "cron": None, "timezone": "UTC"})


@pytest.fixture
def second(chromium: Browser) -> Iterator[Page]:
    """Another person's browser."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    yield context.new_page()
    context.close()


def run_sleep(page: Page, scope: str) -> None:
    """Ask for a run on the schedules screen and go to its iteration."""
    page.get_by_role("button", name="Run sleep").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Scope").fill(scope)
    dialog.get_by_role("button", name="Run", exact=True).click()
    dialog.get_by_role("button", name="Open the iteration").click(timeout=STARTED_MS)
    expect(page).to_have_url(re.compile("/iterations/itr_"))


def test_a_pause_with_its_reason_shows_live_to_everybody_and_so_does_the_resume(
    stack: Stack, tab: Tab, second: Page, as_installed: None
):
    page = tab.page
    sign_in(page, stack, "/schedules")
    sign_in(second, stack, "/schedules")
    for seen in (page, second):
        expect(row_of(seen, "reminders")).to_contain_text("enabled")
        remember_page(seen)
    page.get_by_role("button", name="Pause reminders").click()
    dialog = page.get_by_role("dialog")
    reason = f"moving the mail {uuid.uuid4().hex[:8]}"
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_label("How long").select_option(label="1 hour")
    dialog.get_by_role("button", name="Pause", exact=True).click()
    expect(dialog).to_have_count(0)
    for seen in (page, second):
        row = row_of(seen, "reminders")
        expect(row).to_contain_text(reason)
        expect(row).to_contain_text(f"by {stack.admin_email}")
        expect(row).to_contain_text("resumes in")
    second.get_by_role("button", name="Resume reminders").click()
    second.get_by_role("dialog").get_by_role("button", name="Resume").click()
    for seen in (page, second):
        expect(row_of(seen, "reminders")).to_contain_text("enabled")
        assert was_not_reloaded(seen)
    assert unexpected(tab) == []


def test_a_wrong_cron_is_named_at_its_field_and_a_right_one_shows_when_it_is_due(
    stack: Stack, tab: Tab, as_installed: None
):
    page = tab.page
    sign_in(page, stack, "/schedules")
    page.get_by_role("button", name="Edit expiry").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("list", name="Next due times").get_by_role("listitem")).to_have_count(5)
    dialog.get_by_role("button", name="At set times").click()
    cron = dialog.get_by_label("Cron expression")
    cron.fill("61 * * * *")
    expect(cron).to_have_attribute("aria-invalid", "true")
    expect(cron).to_have_accessible_description(re.compile("no cron expression: Bad minute"))
    # It is refused when it is sent as well, and the dialog stays.
    dialog.get_by_role("button", name="Save").click()
    expect(cron).to_have_accessible_description(re.compile("no cron expression"))
    cron.fill("0 3 * * *")
    zone = dialog.get_by_label("Time zone")
    zone.fill("Mars/Olympus")
    expect(zone).to_have_accessible_description(re.compile("is not an IANA time zone"))
    zone.fill("Europe/Berlin")
    expect(dialog.get_by_test_id("preview")).to_contain_text("at 03:00 every day, Europe/Berlin")
    expect(dialog.get_by_role("list", name="Next due times").get_by_role("listitem")).to_have_count(5)
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    expect(row_of(page, "expiry")).to_contain_text("at 03:00 every day, Europe/Berlin")
    assert stack.api("GET", "/schedules/expiry")["cron"] == "0 3 * * *"
    assert unexpected(tab, UNPROCESSABLE) == []


def test_a_run_is_followed_from_running_to_its_end_without_a_reload(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack, "/schedules")
    remember_page(page)
    # Long enough to be seen running.
    run_sleep(page, "ok:20")
    states = page.get_by_test_id("states")
    expect(states).to_contain_text("not yet: it is running")
    expect(states).to_contain_text(f"asked for by {stack.admin_email}")
    expect(states).to_contain_text("END: ok", timeout=STARTED_MS)
    expect(states).to_contain_text("the worker's child process itself")
    records = page.get_by_test_id("records")
    for name, kind in (("START", "iteration.started"), ("END", "iteration.ended")):
        record = records.get_by_role("region", name=name)
        expect(record).to_contain_text(kind)
        expect(record).to_contain_text("evt_")
        expect(record).to_contain_text("ok:20")
    assert was_not_reloaded(page)
    assert unexpected(tab) == []


def test_a_killed_run_names_the_parent_as_the_writer_of_its_end(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack, "/schedules")
    run_sleep(page, "kill")
    states = page.get_by_test_id("states")
    expect(states).to_contain_text("END: killed", timeout=STARTED_MS)
    expect(states).to_contain_text("by the worker's parent, on behalf of a child that could not")
    expect(page.get_by_text("WorkerLostError").first).to_be_visible()
    expect(page.get_by_test_id("records").get_by_role("region", name="END")).to_contain_text("parent")
    # Its slot tells the same way, and Flower has the task.
    flower = page.get_by_role("link", name=re.compile(r"slt_\w+\.1"))
    assert "/flower/task/slt_" in (flower.get_attribute("href") or "")
    page.get_by_role("link", name=re.compile(r"^slt_\w+$")).click()
    drawer = page.get_by_test_id("drawer")
    expect(drawer).to_contain_text("START")
    expect(drawer.get_by_role("link", name=re.compile("itr_"))).to_be_visible()
    assert unexpected(tab) == []


def test_a_skip_is_found_by_its_reason(stack: Stack, tab: Tab):
    # The second of two runs of one scope that overlap is skipped.
    scope = f"ok:20.{uuid.uuid4().int % 10**6:06d}"
    first = stack.api("POST", "/jobs/sleep/runs", {"scope": scope})["slot_id"]
    # Whichever of the two a child takes first runs: the second is asked for once the first does.
    until(lambda: stack.api("GET", f"/slots/{first}")["iteration_ids"], what="the first runs")
    slot = stack.api("POST", "/jobs/sleep/runs", {"scope": scope})["slot_id"]
    page = tab.page
    sign_in(page, stack, "/slots?reason=overlap&state=skipped")
    row = page.get_by_test_id("slots").get_by_role("row").filter(has_text=scope)
    expect(row).to_have_count(1, timeout=STARTED_MS)
    expect(row).to_contain_text("the one before was still running")
    row.get_by_role("button", name="sleep").press("Enter")
    drawer = page.get_by_test_id("drawer")
    expect(drawer).to_contain_text("Skipped")
    expect(drawer).to_contain_text(slot)
    expect(page).to_have_url(re.compile(f"slot={slot}"))
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    page.get_by_label("Reason of the skip").select_option("undelivered")
    expect(page).to_have_url(re.compile("reason=undelivered"))
    assert unexpected(tab) == []


def test_what_happened_while_another_screen_was_shown_is_there_on_the_way_back(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack, "/slots?job=sleep")
    expect(page.get_by_test_id("slots").or_(page.get_by_text("No slot matches"))).to_be_visible()
    # The next screen follows the same channel, so coming back is no new subscription.
    go_to(page, "j", "/schedules")
    expect(row_of(page, "expiry")).to_be_visible()
    scope = f"ok:0.1{uuid.uuid4().int % 10**6:06d}"
    slot = stack.api("POST", "/jobs/sleep/runs", {"scope": scope})["slot_id"]

    def has_ended() -> bool:
        found = stack.api("GET", f"/iterations?slot={slot}")["items"]
        return bool(found) and found[0]["ended_at"] is not None

    until(has_ended, within_s=60, what="the run has ended")
    page.wait_for_timeout(1_000)  # the last event has come: nothing after it could bring the row
    page.go_back()
    row = page.get_by_test_id("slots").get_by_role("row").filter(has_text=scope)
    expect(row).to_have_count(1)
    expect(row).to_contain_text("started")
    assert unexpected(tab) == []


def test_a_viewer_sees_everything_and_has_no_actions(stack: Stack, tab: Tab):
    email, password = f"viewer-{uuid.uuid4().hex[:8]}@example.com", uuid.uuid4().hex
    stack.api("POST", "/users", {"email": email, "role": "viewer", "password": password})
    page = tab.page
    page.goto(f"{stack.url}/schedules")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(row_of(page, "expiry")).to_contain_text("enabled")
    for word in ("Run", "Pause", "Resume", "Edit"):
        expect(page.get_by_role("button", name=re.compile(f"^{word}"))).to_have_count(0)
    assert unexpected(tab) == []


def test_the_keyboard_reaches_the_screens_and_an_iteration_that_is_gone_says_so(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack)
    go_to(page, "j", "/schedules")
    expect(row_of(page, "expiry")).to_be_visible()
    page.keyboard.press("r")
    expect(page.get_by_role("dialog")).to_contain_text("Run a job now")
    page.keyboard.press("Escape")
    go_to(page, "l", "/slots")
    page.goto(f"{stack.url}/iterations/itr_gone")
    expect(page.get_by_text("There is no iteration")).to_be_visible(timeout=15_000)
    assert unexpected(tab, MISSING) == []


@pytest.mark.parametrize("path", ["/schedules?internal=true", "/slots"])
def test_a_narrow_screen_does_not_scroll_sideways(stack: Stack, tab: Tab, path: str):
    page = tab.page
    page.set_viewport_size({"width": 390, "height": 844})
    sign_in(page, stack, path)
    expect(page.get_by_role("table").or_(page.get_by_test_id("schedules"))).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert unexpected(tab) == []


def test_what_no_beat_claims_is_shown_as_late_until_one_is_back(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack, "/schedules")
    row = row_of(page, "activation")
    expect(row).to_contain_text("enabled")
    beats = [role["pid"] for role in stack.json("status")["roles"] if role["name"].startswith("beat")]
    assert beats
    for pid in beats:
        os.kill(pid, signal.SIGSTOP)
    try:
        expect(row).to_contain_text("no beat has claimed it")
    finally:
        for pid in beats:
            # The supervisor may have replaced one that stood still.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    expect(row).not_to_contain_text("no beat has claimed it", timeout=90_000)
    assert unexpected(tab) == []
