from __future__ import annotations

from typing import Any

import pytest
from falcon import testing
from support.cast import PASSWORD, TEST, Cast, assert_problem, audited

from messagebroker.ops import passwords, users

PATH = "/api/v1/users"


def one(cast: Cast, role: str) -> str:
    return f"{PATH}/{cast.person(role).id}"


def patch(cast: Cast, path: str, role: str, document: dict[str, Any], **more: Any) -> testing.Result:
    return cast.call("PATCH", path, token=cast.token(role), json=document, **more)


def test_making_a_user_gives_a_one_time_password(cast: Cast) -> None:
    answer = cast.post(PATH, "user_manager", json={"email": " New@Example.org"})
    assert answer.status_code == 201
    made = answer.json["user"]
    assert (made["email"], made["role"], made["must_change_password"]) == ("new@example.org", "user", True)
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    assert users.authenticate("new@example.org", answer.json["one_time_password"])
    assert [entry.actor for entry in audited("user.create")] == ["user:user_manager@example.org"]
    assert answer.json["one_time_password"] not in str([entry.details for entry in audited("user.create")])
    assert_problem(cast.post(PATH, "admin", json={"email": "new@example.org"}), 409, "conflict")


def test_the_list(cast: Cast) -> None:
    first = cast.get(PATH, "admin", params={"limit": 3}).json
    rest = cast.get(PATH, "admin", params={"limit": 3, "cursor": first["next"]}).json
    assert [user["email"].partition("@")[0] for user in first["items"] + rest["items"]] == list(Cast.roles)
    assert rest["next"] is None
    assert [user["role"] for user in cast.get(PATH, "admin", params={"email": "ADMIN@example.org"}).json["items"]] == ["admin"]
    assert cast.get(PATH, "admin", params={"email": "nobody@example.org"}).json["items"] == []
    shown = str(first)
    assert "argon2" not in shown
    assert "totp" not in shown


def test_a_changed_role_and_disabled(cast: Cast) -> None:
    path = one(cast, "user")
    answer = patch(cast, path, "admin", {"role": "operator", "disabled": True})
    assert (answer.json["role"], answer.json["disabled_at"] is not None) == ("operator", True)
    assert users.authenticate("user@example.org", PASSWORD) is None
    assert patch(cast, path, "admin", {"disabled": False}).json["disabled_at"] is None
    assert [entry.details for entry in audited("user.set-role")] == ['{"from": "user", "to": "operator"}']
    assert len(audited("user.disable")) == len(audited("user.enable")) == 1
    assert patch(cast, path, "admin", {}).status_code == 200
    assert len(audited("user.set-role")) == 1, "what changes nothing leaves no row"


@pytest.mark.parametrize(
    "field",
    ["id", "email", "password", "password_hash", "must_change_password", "totp_secret", "totp_confirmed_at", "second_factor",
     "disabled_at", "created_at", "Role", "permissions"],
)  # fmt: skip
def test_nothing_else_can_be_set(cast: Cast, field: str) -> None:
    document = assert_problem(patch(cast, one(cast, "user"), "admin", {field: True}), 422, "invalid-field")
    assert document["field"] == field
    assert_problem(cast.post(PATH, "admin", json={"email": "a@example.org", field: 1}), 422, "invalid-field")


@pytest.mark.parametrize("target", ["user", "user_manager", "operator", "admin"])
@pytest.mark.parametrize("role", ["operator", "admin"])
def test_a_user_manager_makes_nobody_more_than_they_are(cast: Cast, target: str, role: str) -> None:
    assert_problem(patch(cast, one(cast, target), "user_manager", {"role": role}), 403, "forbidden")
    assert_problem(cast.post(PATH, "user_manager", json={"email": "new@example.org", "role": role}), 403, "forbidden")
    assert cast.person(target).role == target


@pytest.mark.parametrize("target", ["operator", "admin"])
def test_a_user_manager_touches_nobody_who_may_do_more(cast: Cast, target: str) -> None:
    path = one(cast, target)
    assert_problem(patch(cast, path, "user_manager", {"disabled": True}), 403, "forbidden")
    assert_problem(patch(cast, path, "user_manager", {"role": "user"}), 403, "forbidden")
    assert_problem(cast.post(path + "/reset-password", "user_manager"), 403, "forbidden")
    assert_problem(cast.call("DELETE", path + "/second-factor", token=cast.token("user_manager")), 403, "forbidden")
    assert users.authenticate(f"{target}@example.org", PASSWORD)


@pytest.mark.parametrize("role", ["user_manager", "admin"])
def test_nobody_changes_themselves(cast: Cast, role: str) -> None:
    assert_problem(patch(cast, one(cast, role), role, {"role": "user"}), 403, "not-yourself")
    assert_problem(patch(cast, one(cast, role), role, {"disabled": True}), 403, "not-yourself")


@pytest.mark.parametrize("role", ["user", "operator"])
def test_who_may_not(cast: Cast, role: str) -> None:
    assert_problem(cast.get(PATH, role), 403, "forbidden")
    assert_problem(cast.get(one(cast, role), role), 403, "forbidden")
    assert_problem(cast.post(PATH, role, json={"email": "new@example.org"}), 403, "forbidden")
    assert_problem(patch(cast, one(cast, role), role, {"role": "admin"}), 403, "forbidden")
    assert_problem(cast.post(one(cast, "user") + "/reset-password", role), 403, "forbidden")


def test_two_who_change_the_same_user_do_not_overwrite_each_other(cast: Cast) -> None:
    path = one(cast, "user")
    seen = cast.get(path, "admin").headers["etag"]
    first = patch(cast, path, "admin", {"role": "operator"}, headers={"If-Match": seen})
    assert first.status_code == 200
    second = patch(cast, path, "admin", {"role": "user_manager"}, headers={"If-Match": seen})
    assert_problem(second, 412, "changed-meanwhile")
    assert cast.person("user").role == "operator"
    again = patch(cast, path, "admin", {"role": "user_manager"}, headers={"If-Match": first.headers["etag"]})
    assert again.json["role"] == "user_manager"


def test_a_one_time_password_for_somebody_who_is_locked_out(cast: Cast) -> None:
    token = cast.token("user")
    answer = cast.post(one(cast, "user") + "/reset-password", "user_manager")
    assert answer.json["user"]["must_change_password"] is True
    assert users.authenticate("user@example.org", answer.json["one_time_password"])
    assert_problem(cast.call("GET", "/api/v1/auth/me", token=token), 401, "token-invalid")


def test_nobody_gets_the_password_of_who_becomes_an_admin_while_it_is_hashed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, token, real = one(cast, "user") + "/reset-password", cast.token("user_manager"), passwords.hashed

    def hashed(password: str) -> str:
        users.set_role("user@example.org", "admin", actor=TEST)
        return real(password)

    monkeypatch.setattr(passwords, "hashed", hashed)
    assert_problem(cast.call("POST", path, token=token), 403, "forbidden")
    assert users.authenticate("user@example.org", PASSWORD)
    assert audited("user.reset-password") == []


@pytest.mark.parametrize("number", ["0", "99", "-1", "x", "1e3", "99999999999999999999", "%00", "1 OR 1=1", "²"])
def test_who_is_not_there_is_a_404(cast: Cast, number: str) -> None:
    assert_problem(cast.get(f"{PATH}/{number}", "admin"), 404, "not-found")
    assert_problem(patch(cast, f"{PATH}/{number}", "admin", {}), 404, "not-found")


def test_bad_addresses_are_named(cast: Cast) -> None:
    for email in ("no address", "a@b@c", "ada@exämple.org", "ada\r\nBcc: x@example.org"):
        assert_problem(cast.post(PATH, "admin", json={"email": email}), 422, "invalid-field")
    assert_problem(cast.post(PATH, "admin", json={"email": "a@b.c", "role": "root"}), 422, "invalid-field")


def test_the_last_admin_stays(cast: Cast) -> None:
    users.create("second@example.org", "admin", password=PASSWORD, actor=TEST)
    assert patch(cast, one(cast, "admin"), "second", {"disabled": True}).status_code == 200
    assert_problem(patch(cast, one(cast, "second"), "second", {"disabled": True}), 403, "not-yourself")
