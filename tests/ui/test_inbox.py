"""The inbox in a real Chromium."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from support.fake_main import SCRIPT, START, message_id
from support.people import log_in
from support.portal import ADA, RunningPortal

pytestmark = pytest.mark.tier("browser")


@pytest.fixture
def page(context: BrowserContext, portal: RunningPortal) -> Page:
    page = context.new_page()
    page.goto(portal.url)
    log_in(page)
    page.get_by_label("Pages").get_by_role("link", name="Inbox").click()
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    return page


def test_reading_one_and_making_it_unread_again(page: Page, portal: RunningPortal) -> None:
    portal.main.bodies[message_id(30)] = SCRIPT
    expect(page.locator("tbody tr")).to_have_count(25)
    expect(page.locator(".unread-count")).to_have_text("30")
    expect(page.locator("tbody a.unread")).to_have_count(25)
    page.locator("tbody tr a").first.click()
    expect(page.locator("pre").first).to_have_text(SCRIPT)
    assert page.locator("pre *").count() == 0
    expect(page.locator("dl").first).to_contain_text("for people")
    assert portal.main.opened == [f"{ADA} {message_id(30)}"]
    assert portal.main.read[30] is not None
    expect(page.locator(".unread-count")).to_have_text("29")
    page.get_by_role("link", name="← Inbox").click()
    expect(page.locator("tbody a.unread")).to_have_count(24)
    page.locator("tbody tr a").first.click()
    page.get_by_role("button", name="Mark as unread").click()
    expect(page.locator("tbody a.unread")).to_have_count(25)
    assert portal.main.read[30] is None


def test_paging_filtering_and_marking_all(page: Page, portal: RunningPortal) -> None:
    first = page.locator("tbody tr a").first
    expect(first).to_have_attribute("href", "/inbox/30")
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tbody tr")).to_have_count(5)
    expect(first).to_have_attribute("href", "/inbox/5")
    expect(page.get_by_role("button", name="Mark all as read")).to_have_count(0)
    page.reload()
    page.get_by_role("link", name="Newer").click()
    expect(first).to_have_attribute("href", "/inbox/30")
    portal.main.messages.insert(0, {**portal.main.messages[0], "message_id": message_id(61)})
    portal.main.read[61] = None  # comes after the page was made
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.locator("tbody a.unread")).to_have_count(1)
    page.get_by_label("State").get_by_role("link", name="unread").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.locator("tbody tr")).to_have_count(25)
    page.get_by_label("State").get_by_role("link", name="unread").click()
    expect(page.get_by_text("You have read everything.")).to_be_visible()
    expect(page.locator(".unread-count")).to_have_text("")


def test_an_empty_one_and_one_that_is_not_there(page: Page, portal: RunningPortal) -> None:
    portal.main.read = {}
    page.reload()
    expect(page.get_by_text("Nothing has come yet.")).to_be_visible()
    page.goto(f"{portal.url}/inbox/7")
    expect(page.get_by_role("alert")).to_contain_text("Not found")
    page.goto(f"{portal.url}/inbox/seven")
    expect(page.get_by_role("heading")).to_have_text("Not found")


def test_main_in_trouble_while_marking(page: Page, portal: RunningPortal) -> None:
    portal.main.failing = 503
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot do this now")
    portal.main.failing = None
    portal.main.read[30] = START.isoformat()
    portal.main.end_tokens()
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.get_by_role("status")).to_contain_text("expired")
