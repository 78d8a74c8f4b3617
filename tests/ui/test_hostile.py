"""What senders put into messages is text on people's screens, whatever it would be as HTML, Markdown or a template.

The browser is told to pass over the content security policy: nothing may become an element in the first place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from support.fake_main import message_id
from support.people import log_in
from support.portal import RunningPortal

pytestmark = pytest.mark.tier("browser")

HOSTILE = (
    "<script>window.ran = 'script'</script>",
    "<img src=x onerror=\"window.ran = 'img'\">",
    "<svg/onload=\"window.ran = 'svg'\">",
    "</pre></section><iframe srcdoc=\"<script>parent.ran = 'iframe'</script>\"></iframe>",
    "</script><script>window.ran = 'after'</script>",
    "<a href=\"javascript:window.ran = 'link'\">click</a> <style>* { display: none }</style>",
    "[click](javascript:window.ran='markdown') **bold** `code` # Heading",
    "![x](x) <b>bold</b> &lt;i&gt; &#60;u&#62; &amp;",
    "{{ window.ran = 'vue' }} ${window.ran = 'template'} {% raw %}",
)
EVERYTHING = "\n".join(HOSTILE)


@pytest.fixture
def page(chromium: Browser, portal: RunningPortal) -> Iterator[Page]:
    context = chromium.new_context(ignore_https_errors=True, bypass_csp=True)
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.goto(portal.url)
    log_in(page)
    yield page
    context.close()


def opened(page: Page, portal: RunningPortal, body: Any) -> None:
    portal.main.bodies[message_id(60)] = body
    page.goto(f"{portal.url}/messages/{message_id(60)}")
    page.get_by_role("button", name="Open body").click()
    expect(page.locator("pre").first).to_be_visible()


def assert_is_text(page: Page) -> None:
    page.wait_for_timeout(200)  # handlers of errors and loads run late
    assert page.evaluate("window.ran") is None
    shown = page.locator("section.card.body")
    assert shown.locator("script, img, svg, iframe, style, a, b, i, u, strong, em, code, h1").count() == 0
    assert page.locator("pre *").count() == 0
    assert page.locator("iframe").count() == 0


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: {text: [text, {"html": text}]}], ids=["text", "json"])
def test_a_body_and_its_metadata_are_text(page: Page, portal: RunningPortal, wrap: Any) -> None:
    body, metadata = wrap(EVERYTHING), {**{f"k{text}": text for text in HOSTILE}, "nested": {"list": list(HOSTILE)}}
    portal.main.metadata = metadata
    portal.main.sender = EVERYTHING
    opened(page, portal, body)
    expect(page.get_by_text("Metadata")).to_be_visible()
    expected = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, indent=2)
    assert page.get_by_label("Body of the message").text_content() == expected
    assert page.get_by_label("Metadata of the message").text_content() == json.dumps(metadata, ensure_ascii=False, indent=2)
    assert page.locator("section.card.body dd").text_content() == EVERYTHING
    assert_is_text(page)


def test_what_is_plain_of_messages_is_text_in_the_list_and_on_their_pages(page: Page, portal: RunningPortal) -> None:
    for message, text in zip(portal.main.messages, HOSTILE, strict=False):
        message["topic"] = text
    page.goto(f"{portal.url}/messages")
    expect(page.locator("td.topic")).to_have_count(25)
    assert page.locator("td.topic").all_text_contents()[: len(HOSTILE)] == list(HOSTILE)
    assert page.locator("td.topic *").count() == 0
    portal.main.messages[0] |= {"topic": EVERYTHING, "correlation_id": EVERYTHING, "client_id": EVERYTHING}
    opened(page, portal, "x")
    assert page.locator("dd").all_text_contents().count(EVERYTHING) == 3
    assert page.locator("dd *").count() == 0
    assert_is_text(page)


def test_this_browser_would_run_it(page: Page, portal: RunningPortal) -> None:
    """Else the other tests could not fail."""
    opened(page, portal, "x")
    page.evaluate("text => { document.querySelector('pre').innerHTML = text }", HOSTILE[1])
    page.wait_for_function("window.ran === 'img'")
