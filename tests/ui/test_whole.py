"""A message from a sender's client to a person's screen, through every role, and what the audit log says then."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from support.installation import Installation
from support.servers import Redis

from messagebroker.client import ApiClient, Caller, MessageBroker

pytestmark = pytest.mark.tier("browser")

BODY = "Hello <b>Ada</b> <script>document.title='x'</script>"
PASSWORD = "some words of my own"


def test_from_a_sender_to_the_screen(tmp_path: Path, redis_server: Redis, chromium: Browser) -> None:
    with Installation(tmp_path, redis_url=redis_server.url) as it:
        assert it.made
        assert it.made.admin_password
        files = it.client("till-7")
        it.start("main", "proxy", "worker", "portal")
        with MessageBroker(it.url("proxy"), cert=files.cert, key=files.key, ca=files.ca) as broker:
            message_id = broker.submit(BODY, topic="orders.new", sender="+4915112345678").message_id
            assert broker.get(message_id, wait=20).body == BODY
            skew = broker.whoami()["clock_skew_seconds"]
            assert abs(skew) < 5
        _read_in_the_portal(chromium, it.url("portal"), it.made.admin_password, message_id)
        with ApiClient(it.url("main"), ca=files.ca) as api:
            me = Caller(token=api.login("admin@localhost", PASSWORD).access_token)
            opened = [entry for entry in api.audit(me, limit=50).items if entry.object_id == message_id]
        assert [(entry.actor, entry.address) for entry in opened] == [("user:admin@localhost", "127.0.0.1")]


def _read_in_the_portal(chromium: Browser, url: str, one_time: str, message_id: str) -> None:
    page = chromium.new_page(ignore_https_errors=True)
    page.goto(url)
    page.get_by_label("E-mail address").fill("admin@localhost")
    page.get_by_label("Password").fill(one_time)
    page.keyboard.press("Enter")
    page.get_by_label("Current password").fill(one_time)
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password again").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name=message_id).click()
    page.get_by_role("button", name="Open body").click()
    expect(page.locator("pre").first).to_have_text(BODY)
    expect(page).to_have_title("Message · Message Broker")
    page.close()
