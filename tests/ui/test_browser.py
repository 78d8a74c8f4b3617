"""The portal in a real Chromium, as people use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.fake_main import SCRIPT, message_id
from support.people import log_in
from support.portal import ADA, ADAS_PASSWORD, RunningPortal

pytestmark = pytest.mark.tier("browser")

FOREIGN_FREE = ("data:", "blob:", "about:")


class Watched:
    """What a page complained about and what it asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: self.asked.append(socket.url))

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")


@pytest.fixture
def page(context: BrowserContext, portal: RunningPortal) -> Iterator[Page]:
    """Any complaint of the browser fails the test; so does any request to another origin."""
    page = context.new_page()
    watched = Watched(page)
    page.goto(portal.url)
    yield page
    own = (portal.url, portal.url.replace("https:", "wss:"), *FOREIGN_FREE)
    assert [url for url in watched.asked if not url.startswith(own)] == []
    assert len(watched.asked) > 5
    expected = re.compile(r"status of (401|404|422|503)")  # Chromium reports refused forms as errors of the page
    assert [text for text in watched.complaints if not expected.search(text)] == []


def test_from_the_login_to_a_body_and_out_again(page: Page, portal: RunningPortal) -> None:
    log_in(page, password="wrong")
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    expect(page.get_by_label("E-mail address")).to_have_value(ADA)
    expect(page.get_by_label("Password")).to_be_focused()
    log_in(page)
    expect(page).to_have_title("Messages · Message Broker")
    expect(page.locator("tbody tr")).to_have_count(25)
    expect(page.locator("tbody tr").first).to_contain_text("2025-03-01 09:07:15 UTC")
    expect(page.get_by_label("Queue depth")).to_contain_text("1,234")
    expect(page.get_by_label("Queue depth")).to_contain_text("1 min")
    page.get_by_role("link", name=message_id(60)).click()
    expect(page.locator("dl").first).to_contain_text("invoices.created")
    expect(page.locator(".timeline")).to_contain_text("2025-03-01 09:07:15.040 UTC")
    expect(page.get_by_text("recorded in the audit log")).to_be_visible()
    assert portal.main.opened == []
    page.get_by_role("button", name="Open body").click()
    expect(page.locator("pre").first).to_have_text(SCRIPT, use_inner_text=False)
    assert portal.main.opened == [f"{ADA} {message_id(60)}"]
    page.get_by_role("button", name="Account").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("status")).to_have_text("You are logged out.")
    page.go_back()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_whatever_a_body_holds_is_shown_as_text(page: Page, portal: RunningPortal) -> None:
    log_in(page)
    page.get_by_role("link", name=message_id(60)).click()
    page.get_by_role("button", name="Open body").click()
    body = page.locator("pre")
    expect(body.first).to_be_visible()
    assert body.first.text_content() == SCRIPT
    expect(body.nth(1)).to_contain_text('"colour": "<b>red</b>"')
    assert page.locator("pre *").count() == 0
    expect(page).to_have_title("Message · Message Broker")


def test_topics_and_addresses_are_text_too(page: Page, portal: RunningPortal) -> None:
    portal.main.messages[0]["topic"] = "<img src=x onerror=alert(1)>{{7*7}}"
    log_in(page)
    expect(page.locator("td.topic").first).to_have_text("<img src=x onerror=alert(1)>{{7*7}}")


def test_paging_forth_and_back_filter_reload_and_the_browsers_own_back(page: Page, portal: RunningPortal) -> None:
    log_in(page)
    first = page.locator("tbody tr a").first
    expect(first).to_have_text(message_id(60))
    page.get_by_role("link", name="Older").click()
    expect(first).to_have_text(message_id(35))
    page.get_by_role("link", name="Older").click()
    expect(first).to_have_text(message_id(10))
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.reload()
    page.get_by_role("link", name="Newer").click()
    expect(first).to_have_text(message_id(35))
    page.go_back()
    expect(first).to_have_text(message_id(10))
    page.get_by_role("link", name="Newest").click()
    expect(first).to_have_text(message_id(60))
    page.get_by_label("Status").get_by_role("link", name="scheduled").click()
    expect(page.locator("tbody .badge")).to_have_text(["scheduled"] * 6)
    page.get_by_label("Status").get_by_role("link", name="expired").click()
    expect(page.get_by_text("No message is expired now.")).to_be_visible()


def test_a_one_time_password_must_be_changed_first(page: Page, portal: RunningPortal) -> None:
    log_in(page, "new@example.org", "one-time-1234")
    expect(page.get_by_role("heading")).to_have_text("Choose a new password")
    page.goto(f"{portal.url}/messages")
    expect(page.get_by_role("heading")).to_have_text("Choose a new password")

    def change(current: str, new: str, again: str) -> None:
        page.get_by_label("Current password").fill(current)
        page.get_by_label("New password", exact=True).fill(new)
        page.get_by_label("New password again").fill(again)
        page.get_by_role("button", name="Set the new password").click()

    change("one-time-1234", "words of my own", "words of my pwn")
    expect(page.get_by_role("alert")).to_contain_text("differ")
    change("not that one", "words of my own", "words of my own")
    expect(page.get_by_role("alert")).to_contain_text("current password is wrong")
    change("one-time-1234", "words of my own", "words of my own")
    expect(page.locator("tbody tr")).to_have_count(25)
    assert portal.main.accounts["new@example.org"].password == "words of my own"


def test_a_plain_user_is_offered_what_the_role_has(page: Page, portal: RunningPortal) -> None:
    log_in(page, "una@example.org", "a plain user's words")
    expect(page.get_by_label("Pages").get_by_role("link")).to_have_text(["Messages", "Inbox 30"], use_inner_text=False)
    expect(page.get_by_label("Queue depth")).to_have_count(0)
    page.goto(f"{portal.url}/queues")
    expect(page.get_by_role("alert")).to_contain_text("Not for your role")
    page.goto(portal.url)
    page.get_by_role("link", name=message_id(60)).click()
    page.get_by_role("button", name="Open body").click()
    expect(page.get_by_text("You opened this body")).to_be_visible()
    assert portal.main.opened == [f"una@example.org {message_id(60)}"]


def test_who_may_not_open_is_told_so(page: Page, portal: RunningPortal) -> None:
    log_in(page, "lena@example.org", "sees but opens not")
    page.get_by_role("link", name=message_id(60)).click()
    expect(page.get_by_text("your role does not include opening it")).to_be_visible()
    expect(page.get_by_role("button", name="Open body")).to_have_count(0)
    assert portal.main.opened == []


def test_everything_by_keyboard(page: Page, portal: RunningPortal) -> None:
    expect(page.get_by_label("E-mail address")).to_be_focused()
    page.keyboard.type(ADA)
    page.keyboard.press("Tab")
    page.keyboard.type(ADAS_PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(25)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(9):  # the eight filters, then the first message
        page.keyboard.press("Tab")
    expect(page.get_by_role("link", name=message_id(60))).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Open body").focus()
    page.keyboard.press("Enter")
    expect(page.locator("pre").first).to_be_visible()
    account = page.get_by_role("button", name="Account")
    account.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Log out")).to_be_hidden()


def test_logging_out_closes_the_other_tabs(page: Page, context: BrowserContext, portal: RunningPortal) -> None:
    log_in(page)
    other = context.new_page()
    other.goto(f"{portal.url}/messages/{message_id(60)}")
    expect(other.get_by_label("Queue depth")).to_contain_text("1,234")  # its socket is open
    page.get_by_role("button", name="Account").click()
    page.get_by_role("button", name="Log out").click()
    expect(other.get_by_role("button", name="Log in")).to_be_visible()


def test_a_token_that_main_knows_no_more_leads_to_the_login_and_back(page: Page, portal: RunningPortal) -> None:
    log_in(page)
    page.get_by_role("link", name=message_id(60)).click()
    expect(page.get_by_role("button", name="Open body")).to_be_visible()
    portal.main.end_tokens()
    page.get_by_role("button", name="Open body").click()
    expect(page.get_by_role("status")).to_contain_text("expired")
    assert portal.main.opened == []
    page.goto(f"{portal.url}/messages?status=failed")
    log_in(page)
    expect(page).to_have_url(f"{portal.url}/messages?status=failed")


def test_main_in_trouble_is_told_kindly_and_passes(page: Page, portal: RunningPortal) -> None:
    portal.main.failing = 503
    log_in(page)
    expect(page.get_by_role("alert")).to_contain_text("cannot do this now")
    portal.main.failing = None
    log_in(page)
    expect(page.locator("tbody tr")).to_have_count(25)
    portal.main.failing = 503
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing is lost")
    portal.main.failing = None
    page.get_by_role("link", name="Try again").click()
    expect(page.locator("tbody tr")).to_have_count(25)


def test_a_body_that_cannot_be_opened_now_can_be_later(page: Page, portal: RunningPortal) -> None:
    log_in(page)
    page.get_by_role("link", name=message_id(60)).click()
    portal.main.failing = 503
    for _ in range(2):
        asked = len(portal.main.requests)
        page.get_by_role("button", name="Open body").click()
        while len(portal.main.requests) == asked:  # the page looks the same before as after
            page.wait_for_timeout(20)
        expect(page.get_by_role("alert")).to_have_count(1)
        expect(page.get_by_role("button", name="Open body")).to_be_enabled()
    portal.main.failing = None
    page.get_by_role("button", name="Open body").click()
    expect(page.locator("pre").first).to_have_text(SCRIPT)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_queues_refresh_by_themselves(page: Page, portal: RunningPortal) -> None:
    log_in(page)
    page.get_by_label("Pages").get_by_role("link", name="Queues").click()
    expect(page.locator("tbody tr", has_text="normal")).to_contain_text("1,234")
    portal.main.depth = 7
    expect(page.locator("tbody tr", has_text="normal")).not_to_contain_text("1,234", timeout=10_000)
    expect(page.get_by_label("Queue depth")).to_contain_text("7", timeout=10_000)


def test_an_unknown_message_and_an_unknown_page(page: Page, portal: RunningPortal) -> None:
    log_in(page)
    expect(page.locator("tbody tr")).to_have_count(25)
    page.goto(f"{portal.url}/messages/{message_id(999)}")
    expect(page.get_by_role("alert")).to_contain_text("Not found")
    page.goto(f"{portal.url}/nowhere")
    expect(page.get_by_role("heading")).to_have_text("Not found")


def test_scripts_cannot_read_the_cookie_nor_be_slipped_in(context: BrowserContext, portal: RunningPortal) -> None:
    page = context.new_page()
    page.goto(portal.url)
    log_in(page)
    expect(page.locator("tbody tr")).to_have_count(25)
    assert page.evaluate("document.cookie") == ""
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate("""() => {
            const slipped = document.createElement('div');
            slipped.innerHTML = '<img src="/nothing.png" onerror="window.slipped = 1">';
            document.body.append(slipped);
            const script = document.createElement('script');
            script.textContent = 'window.slipped = 2';
            document.body.append(script);
        }""")
    assert page.evaluate("window.slipped") is None


def test_doing_nothing_logs_out(chromium: Browser, tmp_path: Path) -> None:
    with RunningPortal(tmp_path, portal_idle_seconds=5) as portal:
        context = chromium.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(portal.url)
        log_in(page)
        expect(page.locator("tbody tr")).to_have_count(25)
        expect(page.get_by_role("status")).to_contain_text("nothing happened for a while", timeout=20_000)
        context.close()
