"""Whether people can read the portal: on desktops and phones, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from support.fake_main import message_id
from support.people import log_in
from support.portal import RunningPortal

pytestmark = pytest.mark.tier("browser")

CONTRAST = """() => {
    const channel = c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
    const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = rgb => .2126 * channel(rgb[0]) + .7152 * channel(rgb[1]) + .0722 * channel(rgb[2]);
    const ground = element => {
        for (let at = element; at; at = at.parentElement) {
            const rgb = parse(getComputedStyle(at).backgroundColor);
            if (rgb.length === 3 || rgb[3] === 1) return rgb;
        }
        return [255, 255, 255];
    };
    const poor = [];
    for (const element of document.querySelectorAll('#app *')) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!own || !element.checkVisibility()) continue;
        const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < 4.5) poor.push(`${element.tagName} ${element.textContent.slice(0, 30)}: ${ratio.toFixed(2)}`);
    }
    return poor;
}"""

CUT = """() => [...document.querySelectorAll('#app a, #app button, #app input')].filter(element => {
    const box = element.getBoundingClientRect();
    return element.checkVisibility() && (box.left < 0 || box.right > innerWidth);
}).map(element => element.textContent)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (320, 640)])
def test_readable_in_every_size_and_light(
    chromium: Browser, portal: RunningPortal, scheme: str, width: int, height: int, tmp_path: Path
) -> None:
    viewport = {"width": width, "height": height}
    context = chromium.new_context(ignore_https_errors=True, viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()

    def check(name: str) -> None:
        page.wait_for_timeout(250)  # colours fade
        page.screenshot(path=tmp_path / f"{scheme}-{width}-{name}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than the screen"
        assert page.evaluate(CUT) == [], f"{name}: not whole on the screen"
        assert page.evaluate(CONTRAST) == [], name

    page.goto(portal.url)
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    check("login")
    log_in(page, password="wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    check("wrong")
    log_in(page)
    expect(page.get_by_label("Queue depth")).to_contain_text("1,234")
    check("messages")
    page.get_by_role("link", name=message_id(59)).click()
    page.get_by_role("button", name="Open body").click()
    expect(page.locator("pre").first).to_be_visible()
    check("message")
    page.goto(f"{portal.url}/inbox")
    expect(page.get_by_label("Pages").get_by_role("link", name="Inbox")).to_contain_text("30")
    check("inbox")
    page.locator("tbody tr a").first.click()
    expect(page.locator("pre").first).to_be_visible()
    check("inbox item")
    page.goto(f"{portal.url}/queues")
    page.get_by_role("button", name="Account").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    check("queues")
    page.goto(f"{portal.url}/password")
    expect(page.get_by_label("New password again")).to_be_visible()
    check("password")
    context.close()
