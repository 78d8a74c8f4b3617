"""What operators alert on: every refusal under its reason, every login, every new password, each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.cast import PASSWORD, TEST, Cast, peer
from support.counters import added

from messagebroker.db.models import Client, User
from messagebroker.http.main import app as main_app
from messagebroker.ops import clock, group_members, groups, users
from messagebroker.ops.redis_client import connect

API = "/api/v1"
REFUSED, LOGINS, FAILED, PASSWORDS = (
    f"messagebroker_{name}_total" for name in ("auth_refused", "logins", "failed_logins", "password_changes")
)
LOGIN = f"{API}/auth/login"


def login(cast: Cast, password: str = PASSWORD, **more: Any) -> Any:
    return cast.post(LOGIN, json={"email": "user@example.org", "password": password}, **more)


def new_password(cast: Cast, current: str = PASSWORD) -> Any:
    body = {"current_password": current, "new_password": "quite another passphrase 7"}
    return cast.post(f"{API}/auth/password", "user", json=body)


def with_one_time_password(cast: Cast) -> Any:
    users.create("new@example.org", "admin", actor=TEST)
    return cast.get(f"{API}/users", "new")


def as_group_member(cast: Cast) -> Any:
    group = groups.create("team", actor=TEST).id
    group_members.add_member(group, "user@example.org", actor=TEST)
    return cast.post(f"{API}/groups/{group}/members", "user", json={"email": "admin@example.org"})


def with_topics_of_others(cast: Cast) -> Any:
    group = groups.create("team", actor=TEST).id
    return cast.call("PATCH", f"{API}/groups/{group}", token=cast.token("user_manager"), json={"topics": ["orders"]})


def not_the_owner(cast: Cast) -> Any:
    Client.insert(name="acme", owner="admin@example.org", created_at=clock.now()).execute()
    return cast.post(f"{API}/certificates/bundle", "operator", json={"name": "acme"})


def with_an_expired_token(cast: Cast) -> Any:
    cast.tokens.seconds = -60
    return cast.get(f"{API}/auth/me", "user")


def with_an_ended_session(cast: Cast) -> Any:
    token = cast.token("user")
    cast.call("POST", f"{API}/auth/logout", token=token)
    return cast.call("GET", f"{API}/auth/me", token=token)


def with_an_expired_certificate(cast: Cast) -> Any:
    cast.peers["old"] = replace(peer("client", "old"), not_after=clock.now() - timedelta(days=1))
    return cast.get(f"{API}/auth/me", peer="old")


def guessing(cast: Cast) -> Any:
    """A sixth time: five were wrong."""
    for _ in range(5):
        login(cast, "wrong")
    return login(cast)


def over_the_rate(cast: Cast) -> Any:
    settings = cast.settings.model_copy(update={"api_rate_per_user": 1})
    cast.http.app = main_app.make(settings, watcher=cast.watcher, redis=connect(settings))
    token = cast.token("user")
    return [cast.call("GET", f"{API}/auth/me", token=token) for _ in range(3)][-1]


def changed(cast: Cast, role: str, who: str, **change: Any) -> Any:
    path = f"{API}/users/{cast.person(who).id}"
    return cast.call("PATCH", path, token=cast.token(role), json=change)


REFUSALS: list[tuple[str, int, Callable[[Cast], Any]]] = [
    ("token-required", 401, lambda cast: cast.get(f"{API}/auth/me")),
    ("token-invalid", 401, lambda cast: cast.get(f"{API}/auth/me", headers={"Authorization": "Bearer nonsense"})),
    ("token-invalid", 401, with_an_expired_token),
    ("token-invalid", 401, with_an_ended_session),
    ("refresh-invalid", 401, lambda cast: cast.post(f"{API}/auth/refresh", json={"refresh_token": "nonsense"})),
    ("wrong-credentials", 401, lambda cast: login(cast, "wrong")),
    ("password-change-required", 403, with_one_time_password),
    ("forbidden", 403, lambda cast: cast.get(f"{API}/users", "user")),
    ("forbidden", 403, lambda cast: cast.get(f"{API}/users", peer="proxy")),
    ("forbidden", 403, lambda cast: cast.get(f"{API}/announcements?all=true", "user")),
    ("forbidden", 403, lambda cast: changed(cast, "user_manager", "admin", disabled=True)),
    ("forbidden", 403, as_group_member),
    ("forbidden", 403, with_topics_of_others),
    ("not-yourself", 403, lambda cast: changed(cast, "admin", "admin", disabled=True)),
    ("refused", 403, not_the_owner),
    ("wrong-password", 403, lambda cast: new_password(cast, "wrong")),
    ("reset-token-invalid", 403,
     lambda cast: cast.post(f"{API}/auth/reset", json={"token": "nonsense", "new_password": "a passphrase of mine 7"})),
    ("clients-use-the-proxy", 403, lambda cast: cast.get(f"{API}/auth/me", peer="owner")),
    ("certificate-and-token", 403, lambda cast: cast.get(f"{API}/auth/me", "user", peer="owner")),
    ("certificate-and-token", 403, lambda cast: cast.get(f"{API}/auth/me", "user", peer="proxy")),
    ("certificate-revoked", 403, lambda cast: cast.get(f"{API}/auth/me", peer="revoked")),
    ("certificate-expired", 403, with_an_expired_certificate),
    ("client-mismatch", 403, lambda cast: cast.get(f"{API}/auth/me", peer="owner", headers={"X-Client-Id": "other"})),
    ("component-not-allowed", 403, lambda cast: cast.get(f"{API}/auth/me", peer="worker")),
    ("metrics-for-monitoring", 403, lambda cast: cast.get("/metrics", peer="proxy")),
    ("certificate-required", 401, lambda cast: cast.get("/metrics")),
    ("rate-limited", 429, over_the_rate),
    ("too-many-attempts", 429, guessing),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "status", "ask"), REFUSALS)
def test_a_refusal_counts_once_under_its_reason(
    cast: Cast, reason: str, status: int, ask: Callable[[Cast], Any]
) -> None:  # fmt: skip
    with added(REFUSED) as more:
        answer = ask(cast)
    assert (answer.status_code, answer.json["type"]) == (status, f"urn:messagebroker:problem:{reason}")
    before = {"wrong-credentials": 5} if ask is guessing else {}
    assert more == {**before, reason: 1}


@pytest.mark.parametrize(
    ("ask", "logins", "failed"),
    [
        (login, {"ok": 1}, {}),
        (lambda cast: login(cast, "wrong"), {"refused": 1}, {"wrong-credentials": 1}),
        (guessing, {"refused": 5, "throttled": 1}, {"wrong-credentials": 5, "throttled": 1}),
    ],
    ids=["right", "wrong", "guessing"],
)
def test_logins_count_by_their_outcome(
    cast: Cast, ask: Callable[[Cast], Any], logins: dict[str, float], failed: dict[str, float]
) -> None:
    with added(LOGINS) as all_of_them, added(FAILED) as without:
        ask(cast)
    assert (all_of_them, without) == (logins, failed)


def test_a_login_that_asks_for_a_code_refuses_nobody(cast: Cast) -> None:
    User.update(totp_confirmed_at=clock.now()).where(User.email == "user@example.org").execute()
    with added(REFUSED) as refused, added(LOGINS) as logins:
        assert login(cast).status_code == 401
    assert (refused, logins) == ({}, {})


def test_new_passwords_count_by_how_they_were_set(cast: Cast) -> None:
    with added(PASSWORDS) as more:
        assert new_password(cast).status_code == 200
        user = cast.person("operator").id
        assert cast.post(f"{API}/users/{user}/reset-password", "admin").status_code == 200
        assert new_password(cast, "wrong").status_code == 403
    assert more == {"change-password": 1, "reset-password": 1}


def test_what_succeeds_or_is_merely_wrong_refuses_nobody(cast: Cast) -> None:
    with added(REFUSED) as more:
        assert cast.get(f"{API}/auth/me", "user").status_code == 200
        assert cast.get(f"{API}/groups/999", "user").status_code == 404
        assert cast.get(f"{API}/messages?limit=0", "user").status_code == 400
    assert more == {}
