from __future__ import annotations

import statistics
import time

import pytest
from support.cast import PASSWORD, TEST, Cast, assert_problem, audited

from messagebroker.ops import passwords, users

LOGIN = "/api/v1/auth/login"


def credentials(email: str = "operator@example.org", password: str = PASSWORD) -> dict[str, str]:
    return {"email": email, "password": password}


def test_a_person_gets_a_token_that_works(cast: Cast) -> None:
    answer = cast.post(LOGIN, json=credentials())
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json.keys() == {
        "access_token", "token_type", "expires_in", "refresh_token", "refresh_expires_in", "session_id",
        "must_change_password",
    }  # fmt: skip
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["expires_in"] == cast.settings.token_minutes * 60
    me = cast.call("GET", "/api/v1/auth/me", token=answer.json["access_token"])
    assert me.json["email"] == "operator@example.org"
    assert [entry.actor for entry in audited("user.login")] == ["user:operator@example.org"]
    assert cast.person("operator").last_login_at is not None


def test_the_address_is_compared_without_case(cast: Cast) -> None:
    assert cast.post(LOGIN, json=credentials(" Operator@Example.ORG ")).status_code == 200


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("operator@example.org", PASSWORD + "x"),
        ("nobody@example.org", PASSWORD),
        ("not an address", PASSWORD),
        ("operator@example.org\x00", PASSWORD),
        ("ﬀ@example.org", "𝒂 long enough one"),
    ],
)
def test_wrong_credentials_all_look_the_same(cast: Cast, email: str, password: str) -> None:
    document = assert_problem(cast.post(LOGIN, json=credentials(email, password)), 401, "wrong-credentials")
    assert document["detail"] == "e-mail address or password is wrong"


def test_a_disabled_user_looks_like_a_wrong_password(cast: Cast) -> None:
    users.set_disabled("operator@example.org", True, actor=TEST)
    assert_problem(cast.post(LOGIN, json=credentials()), 401, "wrong-credentials")


def test_failures_are_audited_without_what_may_be_a_password(cast: Cast) -> None:
    cast.post(LOGIN, json=credentials(password="wrong"))
    cast.post(LOGIN, json=credentials(email="MySecretPassword1"))
    assert [entry.object_id for entry in audited("user.login-failed")] == ["operator@example.org", "unknown"]


def test_guessing_an_account_is_slowed_down_from_that_address_only(cast: Cast) -> None:
    for _ in range(5):
        assert_problem(cast.post(LOGIN, json=credentials(password="wrong")), 401, "wrong-credentials")
    throttled = cast.post(LOGIN, json=credentials())
    assert_problem(throttled, 429, "too-many-attempts")
    assert 0 < int(throttled.headers["retry-after"]) <= 300
    assert cast.post(LOGIN, json=credentials("admin@example.org")).status_code == 200
    assert cast.post(LOGIN, json=credentials(), address="192.0.2.8").status_code == 200


def test_the_portals_people_are_told_apart_by_their_own_addresses(cast: Cast) -> None:
    for _ in range(5):
        cast.post(LOGIN, json=credentials(password="wrong"), peer="portal", headers={"X-Forwarded-For": "203.0.113.1"})
    for address, status in (("203.0.113.1", 429), ("203.0.113.2", 200)):
        answer = cast.post(LOGIN, json=credentials(), peer="portal", headers={"X-Forwarded-For": address})
        assert answer.status_code == status


def test_a_clients_certificate_cannot_log_in(cast: Cast) -> None:
    assert_problem(cast.post(LOGIN, json=credentials(), peer="owner"), 403, "clients-use-the-proxy")


@pytest.mark.parametrize(
    ("body", "status", "name", "field"),
    [
        (b"{", 400, "invalid-json", None),
        (b"\xff", 400, "invalid-json", None),
        (b"[]", 422, "invalid-field", None),
        (b'{"email":"a@b.c"}', 422, "invalid-field", "password"),
        (b'{"email":1,"password":"x"}', 422, "invalid-field", "email"),
        (b'{"email":"","password":"x"}', 422, "invalid-field", "email"),
        (b'{"email":"a@b.c","password":"x","admin":true}', 422, "invalid-field", "admin"),
        (b" " * 70_000, 413, "too-large", None),
    ],
)
def test_bad_bodies_are_named(cast: Cast, body: bytes, status: int, name: str, field: str | None) -> None:
    answer = cast.post(LOGIN, body=body, headers={"Content-Type": "application/json"})
    assert assert_problem(answer, status, name).get("field") == field


def test_another_content_type_is_refused(cast: Cast) -> None:
    answer = cast.post(LOGIN, body=b"email=a&password=b", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert_problem(answer, 415, "unsupported-media-type")


@pytest.mark.clocked
@pytest.mark.usefixtures("real_hashing")
def test_an_unknown_user_takes_as_long_as_a_wrong_password(cast: Cast) -> None:
    users.User.update(password_hash=passwords.hashed(PASSWORD)).execute()
    passwords.prepare()

    def seconds(email: str) -> float:
        began = time.perf_counter()
        assert users.authenticate(email, "wrong") is None
        return time.perf_counter() - began

    pairs = [(seconds("operator@example.org"), seconds("nobody@example.org")) for _ in range(9)]
    known, unknown = (statistics.median(times) for times in zip(*pairs, strict=True))
    assert 0.6 < unknown / known < 1.6, "an attacker could tell who has an account"


def test_the_database_being_away_is_a_503(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from messagebroker.errors import Unavailable

    def away(*_: object) -> None:
        raise Unavailable("the database does not answer: db.internal:3306")

    monkeypatch.setattr(users, "authenticate", away)
    answer = cast.post(LOGIN, json=credentials())
    assert_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"]
    assert "db.internal" not in answer.text


def test_a_login_that_a_reset_overtakes_is_a_wrong_password(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    real = passwords.matches

    def matches(stored: str | None, password: str) -> bool:
        monkeypatch.setattr(passwords, "matches", real)
        right = real(stored, password)
        users.reset_password("user@example.org", actor=TEST)
        return right

    monkeypatch.setattr(passwords, "matches", matches)
    answer = cast.post(LOGIN, json=credentials("user@example.org"))
    assert_problem(answer, 401, "wrong-credentials")
    assert [entry.action for entry in audited("user.login") + audited("user.login-failed")] == ["user.login-failed"]
