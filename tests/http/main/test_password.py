from __future__ import annotations

import pytest
from support.cast import PASSWORD, TEST, Cast, assert_problem, audited

from messagebroker.ops import passwords, users

PATH, NEW = "/api/v1/auth/password", "quite another one 2"


def change(new: str = NEW, current: str = PASSWORD) -> dict[str, str]:
    return {"current_password": current, "new_password": new}


def test_the_new_password_counts_and_earlier_tokens_end(cast: Cast) -> None:
    before = cast.token("user")
    answer = cast.call("POST", PATH, token=before, json=change())
    assert answer.status_code == 200
    assert_problem(cast.call("GET", "/api/v1/auth/me", token=before), 401, "token-invalid")
    assert cast.call("GET", "/api/v1/auth/me", token=answer.json["access_token"]).status_code == 200
    assert users.authenticate("user@example.org", NEW) is not None
    assert users.authenticate("user@example.org", PASSWORD) is None
    assert [entry.actor for entry in audited("user.change-password")] == ["user:user@example.org"]


def test_a_one_time_password_is_replaced(cast: Cast) -> None:
    one_time = users.create("new@example.org", "user", actor=TEST)
    assert one_time
    answer = cast.post(PATH, "new", json=change(current=one_time))
    assert answer.json["must_change_password"] is False
    assert cast.call("GET", "/api/v1/groups", token=answer.json["access_token"]).status_code == 200


def test_a_wrong_current_password_changes_nothing_and_counts(cast: Cast) -> None:
    for _ in range(5):
        document = assert_problem(cast.post(PATH, "user", json=change(current="wrong")), 403, "wrong-password")
        assert document["field"] == "current_password"
    assert_problem(cast.post(PATH, "user", json=change()), 429, "too-many-attempts")
    assert users.authenticate("user@example.org", PASSWORD) is not None


@pytest.mark.parametrize("weak", ["short", "aaaaaaaaaaaaaaaa", "user@example.org", PASSWORD, "with a line end\n 12"])
def test_weak_passwords_are_refused(cast: Cast, weak: str) -> None:
    assert assert_problem(cast.post(PATH, "user", json=change(weak)), 422, "weak-password")["field"] == "new_password"


def test_without_a_token_nothing_happens(cast: Cast) -> None:
    assert_problem(cast.post(PATH, json=change()), 401, "token-required")


def test_a_change_that_a_reset_overtakes_is_a_conflict(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    token, real = cast.token("user"), passwords.hashed

    def hashed(password: str) -> str:
        monkeypatch.setattr(passwords, "hashed", real)
        users.reset_password("user@example.org", actor=TEST)
        return real(password)

    monkeypatch.setattr(passwords, "hashed", hashed)
    assert_problem(cast.call("POST", PATH, token=token, json=change()), 409, "conflict")
    assert users.authenticate("user@example.org", NEW) is None
