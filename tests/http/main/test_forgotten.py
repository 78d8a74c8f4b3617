"""A forgotten password, from the request over the job and a real mail server to the login."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from support.cast import PASSWORD, TEST, Cast, assert_problem, audited
from support.mail import MailServer

from messagebroker.actors import ops as jobs
from messagebroker.db.models import PasswordReset
from messagebroker.http.main import app as main_app
from messagebroker.ops import clock, password_resets, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.redis_client import connect
from messagebroker.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Requiring AUTH:UserWarning")
FORGOTTEN, RESET, NEW = "/api/v1/auth/forgotten", "/api/v1/auth/reset", "quite another one 2"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    with MailServer(tmp_path) as started:
        yield started


@pytest.fixture
def calls(cast: Cast, server: MailServer, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the job was called with; main sends mail."""
    sent: list[tuple[Any, ...]] = []
    mail = server.settings(cast.settings.data_dir)
    changes = {name: getattr(mail, name) for name in ("smtp_host", "smtp_port", "smtp_security", "mail_from")}
    changes["portal_public_url"] = "https://portal.example.org/"
    settings: Settings = cast.settings.model_copy(update=changes)
    monkeypatch.setattr(jobs.mail_password_reset, "send", lambda *given: sent.append(given))
    monkeypatch.setattr(jobs, "_settings", settings)
    jobs.broker.stopping.clear()  # other tests stop workers
    cast.http.app = main_app.make(settings, watcher=cast.watcher, redis=connect(settings))
    return sent


def mailed(cast: Cast, server: MailServer, calls: list[tuple[Any, ...]], email: str = "user@example.org") -> str:
    assert cast.post(FORGOTTEN, json={"email": email}).status_code == 202
    jobs.mail_password_reset(*calls[-1])
    found = re.search(r"^ {4}(\S+)\s*$", server.messages[-1].get_content(), re.MULTILINE)
    assert found
    return found[1]


def test_the_code_from_the_mail_sets_a_password_once(cast: Cast, server: MailServer, calls: list[Any]) -> None:
    before = cast.token("user")
    token = mailed(cast, server, calls, " User@Example.org")
    assert server.taken[0][1] == ["user@example.org"]
    assert "https://portal.example.org/reset," in server.messages[0].get_content()
    assert token not in str(calls), "no token waits in Redis"
    assert token.encode() not in bytes(PasswordReset.get().token_hash)
    assert cast.call("GET", "/api/v1/auth/me", token=before).status_code == 200
    assert cast.post(RESET, json={"token": token, "new_password": NEW}).status_code == 204
    assert users.authenticate("user@example.org", NEW)
    assert_problem(cast.call("GET", "/api/v1/auth/me", token=before), 401, "token-invalid")
    again = cast.post(RESET, json={"token": token, "new_password": "yet another one 3"})
    assert_problem(again, 403, "reset-token-invalid")
    assert [entry.actor for entry in audited("user.forgot-password")] == ["anonymous"]
    assert [entry.actor for entry in audited("user.mailed-password")] == ["user:user@example.org"]


@pytest.mark.clocked
def test_every_address_gets_the_same_answer_in_the_same_time(cast: Cast, server: MailServer, calls: list[Any]) -> None:
    users.set_disabled("operator@example.org", True, actor=TEST)

    def ask(email: str, number: int) -> tuple[float, tuple[Any, ...]]:
        began = time.perf_counter()
        answer = cast.post(FORGOTTEN, json={"email": email}, address=f"192.0.2.{number}")
        kept = {name: value for name, value in answer.headers.items() if not name.startswith(("x-", "ratelimit", "trace"))}
        return time.perf_counter() - began, (answer.status_code, answer.content, kept)

    addresses = ["user@example.org", "operator@example.org", "nobody@example.org", "no address\r\nBcc: x@y.z"]
    for address in addresses:
        ask(address, 1)
    times: dict[str, list[float]] = {address: [] for address in addresses}
    for number in range(2, 30):
        answers = {address: ask(address, number) for address in addresses}
        assert len({str(answer) for _, answer in answers.values()}) == 1
        for address, (seconds, _) in answers.items():
            times[address].append(seconds)
    middle = {address: statistics.median(seconds) for address, seconds in times.items()}
    assert max(middle.values()) < 2 * min(middle.values()), middle
    for call in calls:
        if call[0] != "user@example.org":
            jobs.mail_password_reset(*call)
    assert server.taken == []


def test_a_new_code_voids_the_one_before_and_time_voids_all(
    cast: Cast, server: MailServer, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = mailed(cast, server, calls)
    later = clock.now() + password_resets.PACE
    monkeypatch.setattr(clock, "now", lambda: later)
    second = mailed(cast, server, calls)
    assert_problem(cast.post(RESET, json={"token": first, "new_password": NEW}), 403, "reset-token-invalid")
    late = clock.now() + timedelta(minutes=31)
    monkeypatch.setattr(clock, "now", lambda: late)
    assert_problem(cast.post(RESET, json={"token": second, "new_password": NEW}), 403, "reset-token-invalid")
    assert users.authenticate("user@example.org", PASSWORD)


def test_a_weak_password_does_not_use_the_code_up(cast: Cast, server: MailServer, calls: list[Any]) -> None:
    token = mailed(cast, server, calls)
    assert_problem(cast.post(RESET, json={"token": token, "new_password": "password1234"}), 422, "weak-password")
    assert cast.post(RESET, json={"token": token, "new_password": NEW}).status_code == 204


def test_who_is_disabled_in_between_gets_nothing(cast: Cast, server: MailServer, calls: list[Any]) -> None:
    token = mailed(cast, server, calls)
    users.set_disabled("user@example.org", True, actor=TEST)
    assert_problem(cast.post(RESET, json={"token": token, "new_password": NEW}), 403, "reset-token-invalid")


def test_nobody_is_refused_for_the_account_they_name_and_one_mail_is_sent(
    cast: Cast, server: MailServer, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [cast.post(FORGOTTEN, json={"email": "user@example.org"}, address=f"192.0.2.{n % 4}") for n in range(20)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b"")}
    for call in calls:
        jobs.mail_password_reset(*call)
    assert len(server.taken) == 1
    assert len(audited("user.forgot-password")) == 1
    later = clock.now() + password_resets.PACE
    monkeypatch.setattr(clock, "now", lambda: later)
    assert cast.post(RESET, json={"token": mailed(cast, server, calls), "new_password": NEW}).status_code == 204


def test_one_address_that_asks_for_everybody_is_slowed_down(cast: Cast, calls: list[Any]) -> None:
    for number in range(50):
        assert cast.post(FORGOTTEN, json={"email": f"user{number}@example.org"}).status_code == 202
    assert_problem(cast.post(FORGOTTEN, json={"email": "user@example.org"}), 429, "too-many-attempts")


def test_wrong_codes_shut_nobody_out_who_has_the_right_one(cast: Cast, server: MailServer, calls: list[Any]) -> None:
    token = mailed(cast, server, calls)
    for _ in range(60):
        assert_problem(cast.post(RESET, json={"token": "x", "new_password": NEW}), 403, "reset-token-invalid")
    assert cast.post(RESET, json={"token": token, "new_password": NEW}).status_code == 204


def test_without_a_mail_server_people_are_told_what_to_do(cast: Cast) -> None:
    for email in ("user@example.org", "nobody@example.org"):
        document = assert_problem(cast.post(FORGOTTEN, json={"email": email}), 409, "mail-not-configured")
        assert "one-time password" in document["detail"]


def test_a_redis_that_is_away_is_a_503_for_everybody(cast: Cast, calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise redis_py.ConnectionError("refused")

    monkeypatch.setattr(jobs.mail_password_reset, "send", away)
    settings = jobs._settings
    assert settings
    cast.http.app = main_app.make(settings, watcher=cast.watcher, redis=connect(settings))
    assert_problem(cast.post(FORGOTTEN, json={"email": "user@example.org"}), 503, "unavailable")


def test_a_mail_that_cannot_be_sent_is_counted_and_fails_nobody(
    cast: Cast, server: MailServer, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_MAIL_PAUSES", (0.0, 0.0))
    server.refuse = "451 later"
    before = jobs.JOBS.labels("mail", "failed")._value.get()
    jobs.mail_password_reset("user@example.org", None, None)
    assert jobs.JOBS.labels("mail", "failed")._value.get() == before + 1
    server.refuse = None
    jobs.mail_password_reset("user@example.org", None, None)
    assert len(server.taken) == 1


def test_old_codes_are_forgotten(cast: Cast, server: MailServer, calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = jobs._settings
    assert settings
    assert password_resets.mail_token(settings, "user@example.org", Actor(name="cli:test"))
    assert password_resets.forget_old() == 0
    late = clock.now() + timedelta(days=8)
    monkeypatch.setattr(clock, "now", lambda: late)
    assert password_resets.forget_old() == 1
