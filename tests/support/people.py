"""What people do in a browser."""

from __future__ import annotations

from playwright.sync_api import Page
from support.portal import ADA, ADAS_PASSWORD


def log_in(page: Page, email: str = ADA, password: str = ADAS_PASSWORD) -> None:
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
