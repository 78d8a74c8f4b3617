from __future__ import annotations

from typing import Any

import pytest
from support.cast import PASSWORD, TEST, Cast, assert_problem, audited

from messagebroker.db.models import Session
from messagebroker.http.main.sessions import PATH
from messagebroker.ops import users
from messagebroker.ops.metrics import AUTH_REFUSED

LOGIN, REFRESH, LOGOUT, ME = "/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/auth/logout", "/api/v1/auth/me"


def log_in(cast: Cast, role: str = "user", **more: Any) -> dict[str, Any]:
    answer = cast.post(LOGIN, json={"email": f"{role}@example.org", "password": PASSWORD}, **more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


def of(cast: Cast, role: str, session: str = "") -> str:
    return f"/api/v1/users/{cast.person(role).id}/sessions" + (f"/{session}" if session else "")


def test_refresh_goes_on_where_the_login_was(cast: Cast) -> None:
    begun = log_in(cast)
    answer = cast.post(REFRESH, json={"refresh_token": begun["refresh_token"]})
    assert answer.status_code == 200
    assert answer.json["session_id"] == begun["session_id"]
    assert 0 < answer.json["refresh_expires_in"] <= cast.settings.session_idle_hours * 3600
    assert cast.call("GET", ME, token=answer.json["access_token"]).status_code == 200


def test_two_windows_may_refresh_at_once_and_it_leaves_a_trace(cast: Cast) -> None:
    begun, counted = log_in(cast), AUTH_REFUSED.labels("refreshed-meanwhile")
    before = counted._value.get()
    new = cast.post(REFRESH, json={"refresh_token": begun["refresh_token"]}).json
    for _ in range(2):
        again = cast.post(REFRESH, json={"refresh_token": begun["refresh_token"]})
        assert_problem(again, 409, "refreshed-meanwhile")
    assert cast.call("GET", ME, token=new["access_token"]).status_code == 200
    assert [entry.object_id for entry in audited("session.refresh-again")] == [begun["session_id"]] * 2
    assert counted._value.get() == before + 2


@pytest.mark.parametrize("thief", [{"address": "203.0.113.9"}, {"headers": {"User-Agent": "curl/8"}}], ids=["address", "agent"])
@pytest.mark.parametrize("thief_first", [True, False])
def test_a_refresh_token_from_two_places_at_once_ends_the_session(cast: Cast, thief: dict[str, Any], thief_first: bool) -> None:
    begun = log_in(cast, headers={"User-Agent": "Lynx/1"})
    owner: dict[str, Any] = {"headers": {"User-Agent": "Lynx/1"}}
    token = {"refresh_token": begun["refresh_token"]}
    first, second = (thief, owner) if thief_first else (owner, thief)
    new = cast.post(REFRESH, json=token, **first).json
    assert_problem(cast.post(REFRESH, json=token, **second), 401, "refresh-invalid")
    assert_problem(cast.call("GET", ME, token=new["access_token"]), 401, "token-invalid")
    assert_problem(cast.post(REFRESH, json={"refresh_token": new["refresh_token"]}, **first), 401, "refresh-invalid")
    assert [entry.details for entry in audited("session.end")] == ['{"user": "user@example.org", "why": "reused"}']
    assert audited("session.refresh-again") == []


def test_a_stolen_refresh_token_ends_the_session_for_both(cast: Cast) -> None:
    begun = log_in(cast)
    new = cast.post(REFRESH, json={"refresh_token": begun["refresh_token"]}).json
    newest = cast.post(REFRESH, json={"refresh_token": new["refresh_token"]}).json
    assert_problem(cast.post(REFRESH, json={"refresh_token": begun["refresh_token"]}), 401, "refresh-invalid")
    assert_problem(cast.post(REFRESH, json={"refresh_token": newest["refresh_token"]}), 401, "refresh-invalid")
    assert_problem(cast.call("GET", ME, token=newest["access_token"]), 401, "token-invalid")
    assert [entry.details for entry in audited("session.end")] == ['{"user": "user@example.org", "why": "reused"}']


def test_an_access_token_is_no_refresh_token_nor_the_other_way_round(cast: Cast) -> None:
    begun = log_in(cast)
    assert_problem(cast.post(REFRESH, json={"refresh_token": begun["access_token"][:200]}), 401, "refresh-invalid")
    assert_problem(cast.call("GET", ME, token=begun["refresh_token"]), 401, "token-invalid")


def test_after_logout_nothing_of_the_session_is_good(cast: Cast) -> None:
    begun, other = log_in(cast), log_in(cast)
    assert cast.call("POST", LOGOUT, token=begun["access_token"]).status_code == 204
    assert_problem(cast.call("GET", ME, token=begun["access_token"]), 401, "token-invalid")
    assert_problem(cast.post(REFRESH, json={"refresh_token": begun["refresh_token"]}), 401, "refresh-invalid")
    assert cast.call("GET", ME, token=other["access_token"]).status_code == 200


def test_after_a_password_change_only_the_new_session_is_good(cast: Cast) -> None:
    begun, other = log_in(cast), log_in(cast)
    change = {"current_password": PASSWORD, "new_password": "quite another one 2"}
    new = cast.call("POST", "/api/v1/auth/password", token=begun["access_token"], json=change).json
    for old in (begun, other):
        assert_problem(cast.call("GET", ME, token=old["access_token"]), 401, "token-invalid")
        assert_problem(cast.post(REFRESH, json={"refresh_token": old["refresh_token"]}), 401, "refresh-invalid")
    assert cast.post(REFRESH, json={"refresh_token": new["refresh_token"]}).status_code == 200


def test_after_a_change_of_role_the_same_token_has_the_new_rights_and_no_old_ones(cast: Cast) -> None:
    token = log_in(cast, "operator")["access_token"]
    settings, users_path = "/api/v1/settings", "/api/v1/users"
    assert [cast.call("GET", path, token=token).status_code for path in (settings, users_path)] == [200, 403]
    users.set_role("operator@example.org", "user_manager", actor=TEST)
    assert [cast.call("GET", path, token=token).status_code for path in (settings, users_path)] == [403, 200]
    users.set_role("operator@example.org", "user", actor=TEST)
    assert [cast.call("GET", path, token=token).status_code for path in (settings, users_path)] == [403, 403]
    assert cast.call("GET", ME, token=token).json["role"] == "user"


def test_after_a_demotion_the_same_token_reads_no_queue(online: Cast) -> None:
    token = log_in(online, "operator")["access_token"]
    assert online.call("GET", "/api/v1/queue/stats", token=token).status_code == 200
    users.set_role("operator@example.org", "user", actor=TEST)
    assert_problem(online.call("GET", "/api/v1/queue/stats", token=token), 403, "forbidden")


def test_people_see_and_end_their_own(cast: Cast) -> None:
    first, second = log_in(cast, headers={"User-Agent": "Lynx/1"}), log_in(cast, address="192.0.2.9")
    log_in(cast, "admin")
    found = cast.call("GET", PATH, token=first["access_token"], params={"limit": 1}).json
    rest = cast.call("GET", PATH, token=first["access_token"], params={"cursor": found["next"]}).json
    rows = found["items"] + rest["items"]
    assert [(row["id"], row["current"]) for row in rows] == [(first["session_id"], True), (second["session_id"], False)]
    assert (rows[0]["user_agent"], rows[1]["address"]) == ("Lynx/1", "192.0.2.9")
    assert not any("hash" in name or "token" in name for row in rows for name in row)
    path = f"{PATH}/{second['session_id']}"
    assert cast.call("DELETE", path, token=first["access_token"]).status_code == 204
    assert_problem(cast.call("DELETE", path, token=first["access_token"]), 404, "not-found")
    assert_problem(cast.call("GET", ME, token=second["access_token"]), 401, "token-invalid")


def test_ending_all_others_keeps_the_one_that_asks(cast: Cast) -> None:
    mine, other = log_in(cast), log_in(cast)
    assert cast.call("DELETE", PATH, token=mine["access_token"]).json == {"ended": 1}
    assert cast.call("GET", ME, token=mine["access_token"]).status_code == 200
    assert_problem(cast.call("GET", ME, token=other["access_token"]), 401, "token-invalid")


@pytest.mark.parametrize("session", ["", "x", "00000000-0000-7000-8000-000000000000"])
def test_somebody_elses_session_looks_like_one_that_never_was(cast: Cast, session: str) -> None:
    theirs = log_in(cast, "operator")
    answer = cast.call("DELETE", f"{PATH}/{session or theirs['session_id']}", token=cast.token("admin"))
    unknown = cast.call("DELETE", f"{PATH}/0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f", token=cast.token("admin"))
    assert_problem(answer, 404, "not-found")
    assert answer.json == unknown.json
    assert cast.call("GET", ME, token=theirs["access_token"]).status_code == 200


def test_managers_end_sessions_of_those_they_manage(cast: Cast) -> None:
    theirs = log_in(cast)
    assert [row["current"] for row in cast.get(of(cast, "user"), "user_manager").json["items"]] == [False]
    one = of(cast, "user", theirs["session_id"])
    assert cast.call("DELETE", one, token=cast.token("user_manager")).status_code == 204
    log_in(cast)
    assert cast.call("DELETE", of(cast, "user"), token=cast.token("user_manager")).json == {"ended": 1}
    for role in ("operator", "admin"):
        session = log_in(cast, role)
        for path in (of(cast, role), of(cast, role, session["session_id"])):
            assert_problem(cast.call("DELETE", path, token=cast.token("user_manager")), 403, "forbidden")
        assert_problem(cast.get(of(cast, role), "user_manager"), 403, "forbidden")
        assert cast.call("GET", ME, token=session["access_token"]).status_code == 200


def test_a_session_is_ended_only_under_its_own_user(cast: Cast) -> None:
    theirs = log_in(cast, "admin")
    path = of(cast, "user", theirs["session_id"])
    assert_problem(cast.call("DELETE", path, token=cast.token("user_manager")), 404, "not-found")
    assert cast.call("GET", ME, token=theirs["access_token"]).status_code == 200


@pytest.mark.parametrize("role", ["user", "operator"])
def test_who_may_not(cast: Cast, role: str) -> None:
    assert_problem(cast.get(of(cast, "user"), role), 403, "forbidden")
    assert_problem(cast.call("DELETE", of(cast, "user"), token=cast.token(role)), 403, "forbidden")


def test_a_refresh_beside_a_clients_certificate_is_refused(cast: Cast) -> None:
    begun = log_in(cast)
    answer = cast.post(REFRESH, json={"refresh_token": begun["refresh_token"]}, peer="owner")
    assert_problem(answer, 403, "clients-use-the-proxy")


def test_a_login_keeps_no_token_in_the_table(cast: Cast) -> None:
    begun = log_in(cast)
    row = Session.get()
    stored = bytes(row.refresh_hash) + bytes(row.previous_hash or b"") + (row.user_agent or "").encode()
    assert begun["refresh_token"].encode() not in stored
