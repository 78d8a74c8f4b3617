"""Every endpoint of main × everybody who may come: allowed or refused as this table says, and no endpoint is missing."""

from __future__ import annotations

import re

import pytest
from support.cast import PASSWORD, TEST, Cast
from support.endpoints import documented, heads_of, routed

from messagebroker.http.access import METRICS_PATHS
from messagebroker.http.main.app import OPEN_PATHS
from messagebroker.ops import group_members, groups, users
from messagebroker.ops.permissions import PERMISSIONS
from messagebroker.ops.permissions import Permission as P

API = "/api/v1"
AUTH, USERS, GROUPS, CLIENTS, CERTIFICATES, TOPICS, SUBSCRIPTIONS, WEBHOOKS = (
    f"{API}/{name}" for name in ("auth", "users", "groups", "clients", "certificates", "topics", "subscriptions", "webhooks")
)
ANYBODY, SIGNED_IN, PROXY, ITSELF = "anybody", "signed in", "component:proxy", "any component, for itself"
CLIENT = "any client, for what is its own"
TABLE: dict[tuple[str, str], set[str]] = {
    ("POST", f"{AUTH}/login"): {ANYBODY},
    ("POST", f"{AUTH}/refresh"): {ANYBODY},
    ("POST", f"{AUTH}/forgotten"): {ANYBODY},
    ("POST", f"{AUTH}/reset"): {ANYBODY},
    ("POST", f"{AUTH}/logout"): {SIGNED_IN},
    ("GET", f"{AUTH}/me"): {SIGNED_IN},
    ("POST", f"{AUTH}/password"): {SIGNED_IN},
    ("GET", f"{AUTH}/sessions"): {SIGNED_IN},
    ("DELETE", f"{AUTH}/sessions"): {SIGNED_IN},
    ("DELETE", f"{AUTH}/sessions/{{session_id}}"): {SIGNED_IN},
    ("GET", f"{AUTH}/second-factor"): {SIGNED_IN},
    ("POST", f"{AUTH}/second-factor"): {SIGNED_IN},
    ("POST", f"{AUTH}/second-factor/confirm"): {SIGNED_IN},
    ("POST", f"{AUTH}/second-factor/remove"): {SIGNED_IN},
    ("POST", f"{AUTH}/second-factor/recovery-codes"): {SIGNED_IN},
    ("GET", USERS): {P.USERS_READ},
    ("POST", USERS): {P.USERS_MANAGE},
    ("GET", f"{USERS}/{{user_id}}"): {P.USERS_READ},
    ("PATCH", f"{USERS}/{{user_id}}"): {P.USERS_MANAGE},
    ("POST", f"{USERS}/{{user_id}}/reset-password"): {P.USERS_MANAGE},
    ("DELETE", f"{USERS}/{{user_id}}/second-factor"): {P.USERS_MANAGE},
    ("GET", f"{USERS}/{{user_id}}/sessions"): {P.SESSIONS_MANAGE},
    ("DELETE", f"{USERS}/{{user_id}}/sessions"): {P.SESSIONS_MANAGE},
    ("DELETE", f"{USERS}/{{user_id}}/sessions/{{session_id}}"): {P.SESSIONS_MANAGE},
    ("GET", GROUPS): {P.MESSAGES_OWN},
    ("POST", GROUPS): {P.GROUPS_MANAGE},
    ("GET", f"{GROUPS}/{{group_id}}"): {P.MESSAGES_OWN},
    ("PATCH", f"{GROUPS}/{{group_id}}"): {P.GROUPS_MANAGE},
    ("DELETE", f"{GROUPS}/{{group_id}}"): {P.GROUPS_MANAGE},
    ("GET", f"{GROUPS}/{{group_id}}/members"): {P.MESSAGES_OWN},
    ("POST", f"{GROUPS}/{{group_id}}/members"): {P.MESSAGES_OWN},
    ("DELETE", f"{GROUPS}/{{group_id}}/members/{{user_id}}"): {P.MESSAGES_OWN},
    ("GET", TOPICS): {P.MESSAGES_OWN},
    ("POST", TOPICS): {P.TOPICS_MANAGE},
    ("GET", f"{TOPICS}/{{name}}"): {P.MESSAGES_OWN},
    ("PATCH", f"{TOPICS}/{{name}}"): {P.TOPICS_MANAGE},
    ("DELETE", f"{TOPICS}/{{name}}"): {P.TOPICS_MANAGE},
    ("GET", f"{API}/messages"): {P.MESSAGES_LIST, P.MESSAGES_OWN, PROXY},
    ("GET", f"{API}/messages/counts"): {P.MESSAGES_LIST, P.MESSAGES_OWN, PROXY},
    ("GET", f"{API}/messages/{{message_id}}"): {P.MESSAGES_LIST, P.MESSAGES_OWN, PROXY},
    ("GET", f"{API}/messages/{{message_id}}/body"): {P.MESSAGES_OPEN, P.MESSAGES_OWN},
    ("GET", f"{API}/messages/{{message_id}}/timeline"): {P.MESSAGES_LIST, P.MESSAGES_OWN},
    ("POST", f"{API}/messages/{{message_id}}/cancel"): {P.MESSAGES_CANCEL},
    ("GET", f"{API}/dead-letters/groups"): {P.DEAD_LETTERS_READ},
    ("GET", f"{API}/dead-letters"): {P.DEAD_LETTERS_READ},
    ("POST", f"{API}/dead-letters/preview"): {P.DEAD_LETTERS_READ},
    ("POST", f"{API}/dead-letters/retry"): {P.DEAD_LETTERS_MANAGE},
    ("POST", f"{API}/dead-letters/purge"): {P.DEAD_LETTERS_MANAGE},
    ("GET", f"{API}/dead-letters/moves"): {P.DEAD_LETTERS_READ},
    ("GET", f"{API}/dead-letters/moves/{{number}}"): {P.DEAD_LETTERS_READ},
    ("POST", f"{API}/dead-letters/moves/{{number}}/undo"): {P.DEAD_LETTERS_MANAGE},
    ("GET", f"{API}/inbox"): {P.INBOX_OWN},
    ("GET", f"{API}/inbox/unread"): {P.INBOX_OWN},
    ("POST", f"{API}/inbox/read-all"): {P.INBOX_OWN},
    ("GET", f"{API}/inbox/{{item}}"): {P.INBOX_OWN},
    ("POST", f"{API}/inbox/{{item}}/read"): {P.INBOX_OWN},
    ("POST", f"{API}/inbox/{{item}}/unread"): {P.INBOX_OWN},
    ("GET", f"{API}/ingest-failures"): {P.FAILURES_READ},
    ("GET", f"{API}/ingest-failures/{{message_id}}"): {P.FAILURES_READ},
    ("POST", f"{API}/ingest-failures/{{message_id}}/retry"): {P.FAILURES_RETRY},
    ("GET", CLIENTS): {P.CLIENTS_READ, P.CLIENTS_OWN},
    ("POST", CLIENTS): {P.CLIENTS_MANAGE},
    ("GET", f"{CLIENTS}/{{name}}"): {P.CLIENTS_READ, P.CLIENTS_OWN},
    ("PATCH", f"{CLIENTS}/{{name}}"): {P.CLIENTS_MANAGE},
    ("POST", f"{CLIENTS}/{{name}}/disable"): {P.CLIENTS_MANAGE},
    ("POST", f"{CLIENTS}/{{name}}/enable"): {P.CLIENTS_MANAGE},
    ("POST", f"{CLIENTS}/{{name}}/revoke"): {P.CERTIFICATES_MANAGE},
    ("GET", CERTIFICATES): {P.CERTIFICATES_READ, P.CLIENTS_OWN},
    ("POST", CERTIFICATES): {P.CERTIFICATES_MANAGE, P.CLIENTS_OWN},
    ("POST", f"{CERTIFICATES}/bundle"): {P.CERTIFICATES_MANAGE, P.CLIENTS_OWN},
    ("POST", f"{CERTIFICATES}/renew"): {PROXY},
    ("GET", f"{CERTIFICATES}/{{serial}}"): {P.CERTIFICATES_READ, P.CLIENTS_OWN},
    ("POST", f"{CERTIFICATES}/{{serial}}/renew"): {P.CERTIFICATES_MANAGE, P.CLIENTS_OWN},
    ("POST", f"{CERTIFICATES}/{{serial}}/revoke"): {P.CERTIFICATES_MANAGE},
    ("POST", f"{API}/components/certificate"): {ITSELF},
    ("GET", SUBSCRIPTIONS): {P.SUBSCRIPTIONS_READ, P.SUBSCRIPTIONS_OWN},
    ("POST", SUBSCRIPTIONS): {P.SUBSCRIPTIONS_MANAGE},
    ("GET", f"{SUBSCRIPTIONS}/{{subscription_id}}"): {P.SUBSCRIPTIONS_READ, P.SUBSCRIPTIONS_OWN},
    ("PATCH", f"{SUBSCRIPTIONS}/{{subscription_id}}"): {P.SUBSCRIPTIONS_MANAGE},
    ("DELETE", f"{SUBSCRIPTIONS}/{{subscription_id}}"): {P.SUBSCRIPTIONS_MANAGE},
    ("POST", f"{SUBSCRIPTIONS}/{{subscription_id}}/disable"): {P.WEBHOOKS_ACT, P.SUBSCRIPTIONS_OWN},
    ("POST", f"{SUBSCRIPTIONS}/{{subscription_id}}/enable"): {P.WEBHOOKS_ACT, P.SUBSCRIPTIONS_OWN},
    ("POST", f"{SUBSCRIPTIONS}/{{subscription_id}}/replay"): {P.WEBHOOKS_ACT},
    ("GET", WEBHOOKS): {P.SUBSCRIPTIONS_READ, P.SUBSCRIPTIONS_OWN},
    ("GET", f"{WEBHOOKS}/{{subscription_id}}"): {P.SUBSCRIPTIONS_READ, P.SUBSCRIPTIONS_OWN},
    ("GET", f"{WEBHOOKS}/{{subscription_id}}/logs"): {P.SUBSCRIPTIONS_READ, P.SUBSCRIPTIONS_OWN},
    ("POST", f"{WEBHOOKS}/{{subscription_id}}/test"): {P.WEBHOOKS_ACT, P.SUBSCRIPTIONS_OWN},
    ("POST", f"{WEBHOOKS}/{{subscription_id}}/resend"): {P.WEBHOOKS_ACT, P.SUBSCRIPTIONS_OWN},
    ("POST", f"{WEBHOOKS}/{{subscription_id}}/recover"): {P.WEBHOOKS_ACT, P.SUBSCRIPTIONS_OWN},
    ("POST", f"{WEBHOOKS}/{{subscription_id}}/rotate-secret"): {P.WEBHOOKS_ACT, P.SUBSCRIPTIONS_OWN},
    ("GET", f"{WEBHOOKS}/allowed-networks"): {P.SUBSCRIPTIONS_READ},
    ("POST", f"{WEBHOOKS}/allowed-networks"): {P.NETWORKS_MANAGE},
    ("POST", f"{WEBHOOKS}/allowed-networks/remove"): {P.NETWORKS_MANAGE},
    ("GET", f"{API}/announcements"): {SIGNED_IN},
    ("POST", f"{API}/announcements"): {P.ANNOUNCEMENTS_MANAGE},
    ("GET", f"{API}/announcements/{{number}}"): {P.ANNOUNCEMENTS_MANAGE},
    ("PATCH", f"{API}/announcements/{{number}}"): {P.ANNOUNCEMENTS_MANAGE},
    ("DELETE", f"{API}/announcements/{{number}}"): {P.ANNOUNCEMENTS_MANAGE},
    ("GET", f"{API}/audit"): {P.AUDIT_READ},
    ("GET", f"{API}/audit/export"): {P.AUDIT_READ},
    ("POST", f"{API}/pull/{{subscription_id}}"): {CLIENT},
    ("POST", f"{API}/pull/{{subscription_id}}/acknowledge"): {CLIENT},
    ("POST", f"{API}/pull/{{subscription_id}}/extend"): {CLIENT},
    ("POST", f"{API}/pull/{{subscription_id}}/return"): {CLIENT},
    ("GET", f"{API}/queue/stats"): {P.QUEUES_READ},
    ("GET", f"{API}/breakers"): {P.BREAKERS_READ},
    ("GET", f"{API}/breakers/events"): {P.BREAKERS_READ},
    ("POST", f"{API}/breakers/{{subscription_id}}/reset"): {P.BREAKERS_RESET},
    ("GET", f"{API}/queue/{{queue}}/peek"): {P.QUEUES_READ},
    ("POST", f"{API}/queue/{{queue}}/pause"): {P.QUEUES_MANAGE},
    ("POST", f"{API}/queue/{{queue}}/resume"): {P.QUEUES_MANAGE},
    ("POST", f"{API}/queue/{{queue}}/drain"): {P.QUEUES_MANAGE},
    ("POST", f"{API}/queue/{{queue}}/purge"): {P.QUEUES_MANAGE},
    ("POST", f"{API}/queue/reset-stuck"): {P.QUEUES_MANAGE},
    ("GET", f"{API}/workers"): {P.QUEUES_READ},
    ("GET", f"{API}/workers/concurrency"): {P.QUEUES_READ},
    ("PUT", f"{API}/workers/concurrency"): {P.QUEUES_MANAGE},
    ("GET", f"{API}/settings"): {P.SETTINGS_READ},
    ("GET", f"{API}/status"): {P.STATUS_READ},
}
"""Who may come in: with one of these permissions, or as said. Whose object it is comes after that: test_whose_it_is.py."""


def test_no_endpoint_is_missing(cast: Cast) -> None:
    found = routed(cast.http.app)
    open_to_all = {one for one in found if one[1] in OPEN_PATHS or one[1] in METRICS_PATHS}
    assert found - open_to_all == set(TABLE)
    assert documented(cast.get("/openapi.json").json) == found - heads_of(found)


def test_every_permission_opens_something() -> None:
    used = {needed for entry in TABLE.values() for needed in entry}
    assert set(P) - used == set()


@pytest.mark.parametrize("who", ["nobody", "owner", "revoked", "proxy", "portal", "one-time", *Cast.roles])
def test_everybody_at_every_endpoint(cast: Cast, who: str) -> None:
    users.create("plain@example.org", "user", password=PASSWORD, actor=TEST)
    group = groups.create("team", actor=TEST).id
    group_members.add_member(group, "plain@example.org", actor=TEST)
    if who == "one-time":
        users.create("one-time@example.org", "admin", actor=TEST)
    values = {
        "user_id": cast.person("plain").id, "group_id": group, "session_id": UNKNOWN, "message_id": UNKNOWN, "name": "absent",
        "serial": "ab12", "number": 1, "subscription_id": 1, "item": 1, "queue": "low",
    }  # fmt: skip
    wrong = []
    for (method, template), needed in TABLE.items():
        path = re.sub(r"{(\w+)}", lambda found: str(values[found[1]]), template)
        token = cast.token(who) if who in (*Cast.roles, "one-time") else None
        peer = who if who in cast.peers else None
        answer = cast.call(method, path, token=token, peer=peer, json={"unknown": 1} if method in ("POST", "PATCH") else None)
        problem = answer.json["type"].rpartition(":")[2] if answer.status_code >= 400 else None
        if not _as_the_table_says(who, needed, problem) or answer.status_code == 500:
            wrong.append((method, template, answer.status_code, problem))
    assert wrong == []


UNKNOWN = "0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f"


def _as_the_table_says(who: str, needed: set[str], problem: str | None) -> bool:
    """Refused for lack of rights, or let in: what is wrong then with the request is another matter."""
    if who == "revoked":
        return problem == "certificate-revoked"
    if who == "owner":
        return (problem == "clients-use-the-proxy") == (CLIENT not in needed)
    if who in ("nobody", "portal"):
        if ITSELF in needed and who == "nobody":
            return problem == "forbidden"
        return (problem == "token-required") == needed.isdisjoint({ANYBODY, ITSELF})
    if who == "proxy":
        return (problem == "forbidden") == needed.isdisjoint({ANYBODY, PROXY, ITSELF})
    if who == "one-time":
        return (problem == "password-change-required") == needed.isdisjoint({ANYBODY, SIGNED_IN, ITSELF})
    allowed = bool(needed & {ANYBODY, SIGNED_IN}) or bool(needed & PERMISSIONS[who])
    return (problem == "forbidden") != allowed
