"""Somebody guesses at an account at every chance, from everywhere; its owner gets in all the same."""

from __future__ import annotations

from typing import Any

import pyotp
import pytest
from support.cast import PASSWORD, Cast, assert_problem
from support.lockouts import pass_time

from messagebroker.ops import clock, mail, password_resets, sessions
from messagebroker.ops.audit import Actor
from messagebroker.ops.limits import Shared
from messagebroker.ops.login_lockout import LoginLockout
from messagebroker.ops.redis_client import connect

pytestmark = pytest.mark.clocked

LOGIN, OFFICE, TRAIN, ELSEWHERE = "/api/v1/auth/login", "192.0.2.7", "198.51.100.1", "198.51.100.9"
EMAIL, NEW = "user@example.org", "quite another one 2"


@pytest.fixture
def attacked(online: Cast) -> Cast:
    """The user has logged in at the office before."""
    assert log_in(online, OFFICE).status_code == 200
    attack(online)
    return online


def attack(cast: Cast) -> None:
    """Takes every guess there is, from addresses of a botnet, until the delay outlasts what a test does."""
    with connect(cast.settings) as redis:
        lockout, delay = LoginLockout(Shared(redis), sessions.came_from).of("a guess"), 0.0
        for number in range(200):
            pass_time(redis, delay)
            delay = lockout.begin(EMAIL, f"203.0.113.{number}")
            if delay > 60:
                return
    pytest.fail("200 guesses, and no delay of a minute")


def log_in(cast: Cast, address: str, password: str = PASSWORD, **more: Any) -> Any:
    return cast.post(LOGIN, json={"email": EMAIL, "password": password, **more}, address=address)


def test_where_they_logged_in_before(attacked: Cast) -> None:
    assert log_in(attacked, OFFICE).status_code == 200
    assert_problem(log_in(attacked, TRAIN), 429, "too-many-attempts")


def test_where_they_used_a_code_from_an_e_mail(attacked: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(mail, "send", lambda settings, to, subject, text: texts.append(text))
    assert password_resets.mail_token(attacked.settings, EMAIL, Actor(name="anonymous"))
    token = next(line.strip() for line in texts[0].splitlines() if line.startswith("    "))
    reset = {"token": token, "new_password": NEW}
    assert attacked.post("/api/v1/auth/reset", json=reset, address=TRAIN).status_code == 204
    for _ in range(3):
        attack(attacked)
        assert log_in(attacked, TRAIN, NEW).status_code == 200
    assert_problem(log_in(attacked, ELSEWHERE, NEW), 429, "too-many-attempts")


def test_anywhere_with_a_one_time_password(attacked: Cast) -> None:
    path = f"/api/v1/users/{attacked.person('user').id}/reset-password"
    given = attacked.post(path, "admin").json["one_time_password"]
    assert_problem(log_in(attacked, TRAIN), 429, "too-many-attempts")
    begun = log_in(attacked, TRAIN, given)
    assert begun.status_code == 200
    change = {"current_password": given, "new_password": NEW}
    changed = attacked.call("POST", "/api/v1/auth/password", token=begun.json["access_token"], json=change, address=TRAIN)
    assert changed.status_code == 200
    attack(attacked)
    assert log_in(attacked, TRAIN, NEW).status_code == 200, "known there now"


def test_guesses_at_one_time_passwords_are_answered_the_same_for_everybody(attacked: Cast) -> None:
    """By the form of the password, so that nobody learns whether an account exists or waits for its first login."""
    for email in (EMAIL, "nobody@example.org"):
        body = {"email": email, "password": "abcd-efgh-jkmn-pqrs"}
        assert_problem(attacked.post(LOGIN, json=body, address=ELSEWHERE), 401, "wrong-credentials")


def test_codes_are_counted_from_everywhere_also_after_a_one_time_password(online: Cast) -> None:
    token = online.token("user")
    secret = online.call("POST", "/api/v1/auth/second-factor", token=token, json={"password": PASSWORD}).json["secret"]
    code = pyotp.TOTP(secret).at(int(clock.now().timestamp()))
    confirm = online.call("POST", "/api/v1/auth/second-factor/confirm", token=token, json={"code": code})
    assert confirm.status_code == 200
    given = online.post(f"/api/v1/users/{online.person('user').id}/reset-password", "admin").json["one_time_password"]
    answers = [log_in(online, f"203.0.113.{number}", given, code="000000") for number in range(12)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    assert_problem(log_in(online, TRAIN, given), 401, "second-factor-required")
