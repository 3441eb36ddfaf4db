"""API keys in a real browser against a running stack."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
import uuid

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Tab
from tests.browser.test_console import go_to, remember_page, sign_in, unexpected, was_not_reloaded
from tests.support.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SEEN_MS = 90_000


def row_of(page: Page, name: str) -> Locator:
    table = page.get_by_test_id("api-keys")
    return table.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def status_of(stack: Stack, key: str) -> int:
    """What the API answers to who shows this key."""
    request = urllib.request.Request(f"{stack.url}/api/v1/me", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_key_is_shown_once_works_and_is_refused_when_it_is_revoked(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack, "/keys")
    remember_page(page)
    name = f"shop {uuid.uuid4().hex[:8]}"
    page.get_by_role("button", name="New key").click()
    dialog = page.get_by_role("dialog")
    make = dialog.get_by_role("button", name="Make the key")
    expect(make).to_be_disabled()
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Role").select_option("operator")
    make.click()
    key = (dialog.get_by_test_id("made-key").inner_text()).strip()
    assert re.fullmatch(r"tnk_[\w-]{20,}", key)
    dialog.get_by_role("button", name="Done").click()
    # It is on no screen any more, and in nothing that the browser keeps.
    assert key not in page.content()
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert key not in kept
    row = row_of(page, name)
    expect(row).to_contain_text("never used")
    expect(row).to_contain_text("operator")
    expect(row).to_contain_text(f"by {stack.admin_email}")
    assert status_of(stack, key) == 200
    expect(row).to_contain_text("in use", timeout=SEEN_MS)
    row.get_by_role("button", name=f"Revoke {name}").click()
    dialog.get_by_role("button", name="Revoke", exact=True).click()
    expect(row).to_contain_text("revoked")
    expect(row.get_by_role("button")).to_have_count(0)
    assert status_of(stack, key) == 401
    assert was_not_reloaded(page)
    assert unexpected(tab) == []


def test_a_viewer_sees_the_keys_and_changes_none(stack: Stack, tab: Tab):
    email, password = f"viewer-{uuid.uuid4().hex[:8]}@example.com", uuid.uuid4().hex
    stack.api("POST", "/users", {"email": email, "role": "viewer", "password": password})
    name = f"till {uuid.uuid4().hex[:8]}"
    key = stack.api("POST", "/api-keys", {"name": name, "role": "viewer"})["key"]
    page = tab.page
    page.goto(f"{stack.url}/keys")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    row = row_of(page, name)
    expect(row).to_contain_text("viewer")
    expect(row).to_contain_text(f"{key[:10]}…")
    assert key not in page.content()
    for word in ("New key", "Revoke"):
        expect(page.get_by_role("button", name=re.compile(f"^{word}"))).to_have_count(0)
    assert unexpected(tab) == []


def test_the_keyboard_reaches_the_keys_and_a_narrow_screen_does_not_scroll_sideways(stack: Stack, tab: Tab):
    page = tab.page
    sign_in(page, stack)
    go_to(page, "k", "/keys")
    expect(page.get_by_test_id("api-keys")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.get_by_test_id("api-keys")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert unexpected(tab) == []
