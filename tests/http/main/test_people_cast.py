"""Every endpoint about people × everybody who may come: allowed or refused as this table says, and none is missing."""

from __future__ import annotations

import re

import pytest
from support.cast import PASSWORD, TEST, Cast

from messagebroker.ops import group_members, groups, users
from messagebroker.ops.permissions import PERMISSIONS, Permission

AUTH, USERS, GROUPS = "/api/v1/auth", "/api/v1/users", "/api/v1/groups"
ANYBODY, SIGNED_IN = "anybody", "signed in"
OWN = Permission.MESSAGES_OWN
TABLE: dict[tuple[str, str], Permission | str] = {
    ("POST", f"{AUTH}/login"): ANYBODY,
    ("POST", f"{AUTH}/refresh"): ANYBODY,
    ("POST", f"{AUTH}/forgotten"): ANYBODY,
    ("POST", f"{AUTH}/reset"): ANYBODY,
    ("POST", f"{AUTH}/logout"): SIGNED_IN,
    ("GET", f"{AUTH}/me"): SIGNED_IN,
    ("POST", f"{AUTH}/password"): SIGNED_IN,
    ("GET", f"{AUTH}/sessions"): SIGNED_IN,
    ("DELETE", f"{AUTH}/sessions"): SIGNED_IN,
    ("DELETE", f"{AUTH}/sessions/{{session_id}}"): SIGNED_IN,
    ("GET", f"{AUTH}/second-factor"): SIGNED_IN,
    ("POST", f"{AUTH}/second-factor"): SIGNED_IN,
    ("POST", f"{AUTH}/second-factor/confirm"): SIGNED_IN,
    ("POST", f"{AUTH}/second-factor/remove"): SIGNED_IN,
    ("POST", f"{AUTH}/second-factor/recovery-codes"): SIGNED_IN,
    ("GET", USERS): Permission.USERS_READ,
    ("POST", USERS): Permission.USERS_MANAGE,
    ("GET", f"{USERS}/{{user_id}}"): Permission.USERS_READ,
    ("PATCH", f"{USERS}/{{user_id}}"): Permission.USERS_MANAGE,
    ("POST", f"{USERS}/{{user_id}}/reset-password"): Permission.USERS_MANAGE,
    ("DELETE", f"{USERS}/{{user_id}}/second-factor"): Permission.USERS_MANAGE,
    ("GET", f"{USERS}/{{user_id}}/sessions"): Permission.SESSIONS_MANAGE,
    ("DELETE", f"{USERS}/{{user_id}}/sessions"): Permission.SESSIONS_MANAGE,
    ("DELETE", f"{USERS}/{{user_id}}/sessions/{{session_id}}"): Permission.SESSIONS_MANAGE,
    ("GET", GROUPS): OWN,
    ("POST", GROUPS): Permission.GROUPS_MANAGE,
    ("GET", f"{GROUPS}/{{group_id}}"): OWN,
    ("PATCH", f"{GROUPS}/{{group_id}}"): Permission.GROUPS_MANAGE,
    ("DELETE", f"{GROUPS}/{{group_id}}"): Permission.GROUPS_MANAGE,
    ("GET", f"{GROUPS}/{{group_id}}/members"): OWN,
    ("POST", f"{GROUPS}/{{group_id}}/members"): OWN,
    ("DELETE", f"{GROUPS}/{{group_id}}/members/{{user_id}}"): OWN,
}


def test_no_endpoint_is_missing(cast: Cast) -> None:
    paths = cast.get("/openapi.json").json["paths"]
    found = {
        (method.upper(), path)
        for path, methods in paths.items()
        if path.startswith((AUTH, USERS, GROUPS))
        for method in methods
    }
    assert found == set(TABLE)


@pytest.mark.parametrize("who", ["nobody", "owner", "revoked", "proxy", "portal", "one-time", *Cast.roles])
def test_everybody_at_every_endpoint(cast: Cast, who: str) -> None:
    users.create("plain@example.org", "user", password=PASSWORD, actor=TEST)
    group = groups.create("team", actor=TEST).id
    group_members.add_member(group, "plain@example.org", actor=TEST)
    if who == "one-time":
        users.create("one-time@example.org", "admin", actor=TEST)
    values = {"user_id": cast.person("plain").id, "group_id": group, "session_id": "0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f"}
    wrong = []
    for (method, template), needed in TABLE.items():
        path = re.sub(r"{(\w+)}", lambda found: str(values[found[1]]), template)
        token = cast.token(who) if who in (*Cast.roles, "one-time") else None
        peer = who if who in cast.peers else None
        answer = cast.call(method, path, token=token, peer=peer, json={"unknown": 1} if method in ("POST", "PATCH") else None)
        problem = answer.json["type"].rpartition(":")[2] if answer.status_code >= 400 else None
        if who == "nobody" or who == "portal":
            expected = problem != "token-required" if needed == ANYBODY else problem == "token-required"
        elif who in ("owner", "revoked"):
            expected = problem == {"owner": "clients-use-the-proxy", "revoked": "certificate-revoked"}[who]
        elif who == "proxy":
            expected = needed == ANYBODY or problem == "forbidden"
        elif who == "one-time":
            expected = (problem == "password-change-required") == isinstance(needed, Permission)
        else:
            allowed = needed in (ANYBODY, SIGNED_IN) or needed in PERMISSIONS[who]
            expected = (problem == "forbidden" and "permission" in answer.json) != allowed
        if not expected or answer.status_code >= 500:
            wrong.append((method, template, answer.status_code, problem))
    assert wrong == []
