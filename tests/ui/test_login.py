"""Logging in and staying in: second factors, forgotten passwords and refreshed tokens, with a real portal process."""

from __future__ import annotations

import time

import httpx
import pytest
from support.portal import ADA, RunningPortal

pytestmark = pytest.mark.tier("processes")
NEW = "quite another one 2"


def test_a_second_factor_is_asked_for_after_the_password(portal: RunningPortal) -> None:
    form = {"email": "tom@example.org", "password": "two factors for tom", "next": "/messages"}
    with portal.http() as http:
        plain = http.get("/login")
        assert "Code from your authenticator" not in plain.text
        asked = http.post("/login", data=form, headers={"origin": portal.url})
        assert asked.status_code == 401
        assert "Code from your authenticator" in asked.text
        wrong = http.post("/login", data={**form, "code": "000000"}, headers={"origin": portal.url})
        assert wrong.status_code == 401
        assert "This code is wrong" in wrong.text
        done = http.post("/login", data={**form, "code": " 123456 "}, headers={"origin": portal.url})
        assert (done.status_code, done.headers["location"]) == (303, "/messages")


def test_a_forgotten_password_is_set_with_a_code(portal: RunningPortal) -> None:
    with portal.http() as http:
        assert "/forgotten" in http.get("/login").text
        assert http.get("/forgotten").status_code == http.get("/reset").status_code == 200
        sent = http.post("/forgotten", data={"email": ADA}, headers={"origin": portal.url})
        assert "on its way" in sent.text
        form = {"code": "mailed-code", "new": NEW, "repeated": NEW}
        for changes, text in (({"code": "x"}, "code is not good"), ({"repeated": "y"}, "differ")):
            refused = http.post("/reset", data={**form, **changes}, headers={"origin": portal.url})
            assert refused.status_code in (403, 422)
            assert text in refused.text
        done = http.post("/reset", data=form, headers={"origin": portal.url})
        assert (done.status_code, done.headers["location"]) == (303, "/login?ended=reset")
        assert "new password is set" in http.get("/login?ended=reset").text
        assert portal.log_in(http, password=NEW).status_code == 303


def test_forms_from_other_sites_are_refused(portal: RunningPortal) -> None:
    with portal.http() as http:
        for path in ("/forgotten", "/reset"):
            assert http.post(path, data={"email": ADA}, headers={"origin": "https://evil.example"}).status_code == 403


def uses_its_newest_token(portal: RunningPortal, http: httpx.Client) -> bool:
    http.get("/messages")
    newest = f"token-{portal.main._tokens}-of-{ADA}"
    return bool(portal.main.headers_of("/api/v1/messages")["authorization"].endswith(newest))


def test_a_session_outlives_its_token_by_refreshing(portal: RunningPortal) -> None:
    portal.main.token_seconds = 6
    with portal.http() as http:
        assert portal.log_in(http).status_code == 303
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert http.get("/messages").status_code == 200
            time.sleep(0.5)
        account = portal.main.accounts[ADA]
        assert 1 <= len(account.refreshed) <= 3
        newest = [uses_its_newest_token(portal, http) for _ in range(3)]
        assert any(newest), "it may be refreshed just after a page was drawn, but not each time"
        assert "refresh" not in http.get("/messages").text
        assert str(http.cookies).count("token") == 0


def test_a_session_that_main_has_ended_ends_here(portal: RunningPortal) -> None:
    portal.main.token_seconds = 3
    with portal.http() as http:
        portal.log_in(http)
        portal.main.end_tokens()
        time.sleep(4)
        assert http.get("/messages").status_code == 303


def test_logging_out_ends_the_session_on_main_too(portal: RunningPortal) -> None:
    with portal.http() as http:
        portal.log_in(http)
        assert portal.main.accounts[ADA].tokens
        assert http.post("/logout", headers={"origin": portal.url}).status_code == 303
        assert portal.main.accounts[ADA].tokens == set()
