"""What strangers and insiders send to the part of the API that decides who may do what."""

from __future__ import annotations

import json
import statistics
import time

import pytest
from support.cast import PASSWORD, TEST, Cast, assert_problem

from messagebroker.ops import clock, passwords, users

LOGIN, REFRESH, FORGOTTEN, RESET = (f"/api/v1/auth/{name}" for name in ("login", "refresh", "forgotten", "reset"))
TEXTS = [
    "' OR '1'='1", "a@example.org' --", "%", "_", "\x00", "a\r\nSet-Cookie: x=1", "\ud800", "é" * 60, "{{7*7}}",
    "💥@example.org",    "user@example.org\u200b", "\uff55ser@example.org",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_that_is_typed_breaks_or_opens_anything(cast: Cast, text: str) -> None:
    body = json.dumps(text)  # also what is no text at all: half of a surrogate pair
    for path, content in (
        (LOGIN, f'{{"email": {body}, "password": {body}}}'),
        (REFRESH, f'{{"refresh_token": {body}}}'),
        (FORGOTTEN, f'{{"email": {body}}}'),
        (RESET, f'{{"token": {body}, "new_password": "a long enough one 1"}}'),
    ):
        answer = cast.post(path, body=content.encode(), headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 401, 403, 409, 422), (path, answer.text)
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("text", [text for text in TEXTS if text.isprintable()])
def test_a_filter_is_a_value_and_no_sql(cast: Cast, text: str) -> None:
    answer = cast.get("/api/v1/users", "admin", params={"email": text})
    assert answer.status_code in (200, 400)
    assert answer.json.get("items", []) == []


@pytest.mark.parametrize("path", ["/api/v1/users", "/api/v1/groups", LOGIN, REFRESH, "/api/v1/auth/second-factor"])
def test_deep_and_large_documents_are_refused(cast: Cast, path: str) -> None:
    for body, statuses in ((b"[" * 30_000, (400, 422)), (b'{"a":' * 10_000, (400, 422)), (b" " * 70_000, (413,))):
        answer = cast.post(path, "admin", body=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in statuses, (path, answer.text[:200])


@pytest.mark.parametrize("cursor", ["AAAAAAAAAAA", "__________8", "_", "A" * 200, "AAAAAAAAAAAAAAAAAAAAAA"])
def test_a_cursor_of_somebody_elses_making_is_no_500(cast: Cast, cursor: str) -> None:
    for path in ("/api/v1/users", "/api/v1/groups", "/api/v1/auth/sessions"):
        assert cast.get(path, "admin", params={"cursor": cursor}).status_code in (200, 400)


@pytest.mark.clocked
@pytest.mark.usefixtures("real_hashing")
def test_the_time_of_a_refusal_tells_nothing(cast: Cast) -> None:
    """Over the whole endpoint: somebody known, nobody, somebody disabled, and somebody with a second factor."""
    users.create("second@example.org", "admin", password=PASSWORD, actor=TEST)
    users.User.update(password_hash=passwords.hashed(PASSWORD)).execute()
    users.set_disabled("operator@example.org", True, actor=TEST)
    users.User.update(totp_secret=b"x" * 60, totp_confirmed_at=clock.now()).where(
        users.User.email == "user_manager@example.org"
    ).execute()
    kinds = {"known": "user", "nobody": "nobody", "disabled": "operator", "second factor": "user_manager"}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(12):
        for kind, name in kinds.items():
            began = time.perf_counter()
            given = {"email": f"{name}@example.org", "password": "wrong", "code": "123456"}
            assert_problem(cast.post(LOGIN, json=given, address=f"203.0.113.{number}"), 401, "wrong-credentials")
            times[kind].append(time.perf_counter() - began)
    middle = {kind: statistics.median(seconds) for kind, seconds in times.items()}
    assert max(middle.values()) < 1.5 * min(middle.values()), middle
