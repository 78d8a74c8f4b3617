"""Every endpoint that names an object or shows one's own × people who stand differently to that object: the exact status.

Each cell is undone before the next, so that all of them meet the same objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from support.cast import TEST, Cast, Shelf
from support.endpoints import right_of, routed
from support.pki import peer
from support.records import KEY, record
from support.requests import signing_request
from support.subscribed import delivery, webhook

from messagebroker.db.connection import database
from messagebroker.db.models import Client, DeadLetterMove, InboxItem, Topic, User
from messagebroker.ops import (
    announcements,
    certificates,
    clock,
    failures,
    group_members,
    groups,
    ids,
    inbox,
    sessions,
    users,
)

API = "/api/v1"
WHO = ("owner", "member", "manager", "outsider", "user_manager", "operator", "admin")
"""Of the client `acme`; in its group; the group's manager; nobody to it; and three roles that have nothing to do with it."""

CSR = {"csr": signing_request().decode()}
MESSAGE = {"message_id": "0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f"}


@dataclass
class Row:
    """One endpoint, asked about one object. `statuses`: in the order of WHO."""

    method: str
    path: str
    statuses: str
    body: Any = None
    query: str = ""
    named: dict[str, str] = field(default_factory=dict)  # of the objects: another than the usual one


def row(method: str, path: str, statuses: str, body: Any = None, query: str = "", **named: str) -> Row:
    return Row(method, f"{API}/{path}", statuses, body, query, named)


TABLE = [
    #                                                     owner member manager outsider user_manager operator admin
    row("GET", "messages",                                 "200 200 200 200 200 200 200"),
    row("GET", "messages/counts",                          "200 200 200 404 404 200 200", query="client=acme"),
    row("GET", "messages/counts",                          "404 404 404 404 404 200 200", query="client=absent"),
    row("GET", "messages/{message_id}",                    "200 200 200 404 404 200 200"),
    row("GET", "messages/{message_id}",                    "200 200 200 404 404 200 200", query="body=true"),
    row("GET", "messages/{message_id}",                    "404 200 200 404 404 200 200", message_id="on_topic"),
    row("GET", "messages/{message_id}",                    "404 404 404 404 404 404 404", message_id="unknown"),
    row("GET", "messages/{message_id}/body",               "200 200 200 404 404 200 200"),
    row("GET", "messages/{message_id}/body",               "404 200 200 404 404 200 200", message_id="on_topic"),
    row("GET", "messages/{message_id}/timeline",           "200 200 200 404 404 200 200"),
    row("GET", "messages/{message_id}/timeline",           "404 200 200 404 404 200 200", message_id="on_topic"),
    row("GET", "messages/{message_id}/timeline",           "404 404 404 404 404 404 404", message_id="unknown"),
    row("POST", "messages/{message_id}/cancel",            "403 403 403 403 403 200 200", message_id="scheduled"),
    row("GET", "inbox/{item}",                             "200 404 404 404 404 404 404"),
    row("GET", "inbox/{item}",                             "404 404 404 404 404 404 404", item="no_item"),
    row("POST", "inbox/{item}/read",                       "200 404 404 404 404 404 404"),
    row("POST", "inbox/{item}/unread",                     "200 404 404 404 404 404 404"),
    row("GET", "ingest-failures/{message_id}",             "403 403 403 403 403 200 200", message_id="failure"),
    row("POST", "ingest-failures/{message_id}/retry",      "403 403 403 403 403 200 200", message_id="failure"),
    row("GET", "queue/{queue}/peek",                       "403 403 403 403 403 200 200"),
    row("POST", "queue/{queue}/pause",                     "403 403 403 403 403 200 200", {"reason": "x"}),
    row("POST", "queue/{queue}/resume",                    "403 403 403 403 403 200 200"),
    row("POST", "queue/{queue}/drain",                     "403 403 403 403 403 200 200", {"seconds": 0}),
    row("POST", "queue/{queue}/purge",                     "403 403 403 403 403 200 200", {"dry_run": True}),
    row("POST", "queue/{queue}/purge",                     "403 403 403 403 403 422 422", {"reason": "x"}),
    row("GET", "clients",                                  "200 200 200 200 200 200 200"),
    row("GET", "clients/{name}",                           "200 200 200 404 404 200 200"),
    row("GET", "clients/{name}",                           "404 404 404 404 404 404 404", name="absent"),
    row("PATCH", "clients/{name}",                         "403 403 403 403 403 403 200", {"rate": 5}),
    row("POST", "clients/{name}/disable",                  "403 403 403 403 403 403 200"),
    row("POST", "clients/{name}/enable",                   "403 403 403 403 403 403 200"),
    row("GET", "certificates",                             "200 200 200 404 404 200 200", query="name=acme"),
    row("GET", "certificates",                             "400 400 400 400 400 200 200"),
    row("GET", "certificates/{serial}",                    "200 200 200 404 404 200 200"),
    row("GET", "certificates/{serial}",                    "404 404 404 404 404 200 200", serial="component"),
    row("GET", "certificates/{serial}",                    "404 404 404 404 404 404 404", serial="no_serial"),
    row("POST", "certificates",                            "201 403 403 404 404 403 201", {"name": "acme", **CSR}),
    row("POST", "certificates/bundle",                     "201 403 403 404 404 403 201", {"name": "acme"}),
    row("POST", "certificates/{serial}/renew",             "201 403 403 404 404 403 201", CSR),
    row("POST", "certificates/{serial}/renew",             "404 404 404 404 404 404 404", CSR, serial="component"),
    row("GET", "groups",                                   "200 200 200 200 200 200 200"),
    row("GET", "groups/{group_id}",                        "404 200 200 404 200 404 200"),
    row("PATCH", "groups/{group_id}",                      "403 403 403 403 200 403 200", {"description": "new"}),
    row("DELETE", "groups/{group_id}",                     "403 403 403 403 204 403 204"),
    row("GET", "groups/{group_id}/members",                "404 200 200 404 200 404 200"),
    row("POST", "groups/{group_id}/members",               "404 403 200 404 200 404 200", {"email": "owner@example.org"}),
    row("DELETE", "groups/{group_id}/members/{user_id}",   "404 403 204 404 204 404 204", user_id="mate"),
    row("DELETE", "groups/{group_id}/members/{user_id}",   "404 204 204 404 204 404 204", user_id="member"),
    row("DELETE", "auth/sessions/{session_id}",            "204 404 404 404 404 404 404"),
    row("GET", "users/{user_id}",                          "403 403 403 403 200 403 200"),
    row("PATCH", "users/{user_id}",                        "403 403 403 403 200 403 200", {"disabled": True}),
    row("PATCH", "users/{user_id}",                        "403 403 403 403 403 403 200", {"role": "user"}, user_id="operator"),
    row("POST", "users/{user_id}/reset-password",          "403 403 403 403 200 403 200"),
    row("POST", "users/{user_id}/reset-password",          "403 403 403 403 403 403 200", user_id="operator"),
    row("DELETE", "users/{user_id}/second-factor",         "403 403 403 403 204 403 204"),
    row("GET", "users/{user_id}/sessions",                 "403 403 403 403 200 403 200"),
    row("GET", "users/{user_id}/sessions",                 "403 403 403 403 403 403 200", user_id="operator"),
    row("DELETE", "users/{user_id}/sessions",              "403 403 403 403 200 403 200"),
    row("DELETE", "users/{user_id}/sessions/{session_id}", "403 403 403 403 204 403 204"),
    row("DELETE", "users/{user_id}/sessions/{session_id}", "403 403 403 403 404 403 404", user_id="member"),
    row("GET", "announcements/{number}",                   "403 403 403 403 403 200 200"),
    row("PATCH", "announcements/{number}",                 "403 403 403 403 403 200 200", {"text": "new"}),
    row("DELETE", "announcements/{number}",                "403 403 403 403 403 204 204"),
    row("GET", "subscriptions",                            "200 200 200 200 200 200 200"),
    row("GET", "subscriptions/{subscription_id}",          "200 200 200 404 404 200 200"),
    row("PATCH", "subscriptions/{subscription_id}",        "403 403 403 403 403 403 200", {"name": "new"}),
    row("DELETE", "subscriptions/{subscription_id}",       "403 403 403 403 403 403 204"),
    row("POST", "subscriptions/{subscription_id}/disable", "200 403 403 404 404 200 200", {}),
    row("POST", "subscriptions/{subscription_id}/enable",  "200 403 403 404 404 200 200"),
    row("POST", "subscriptions/{subscription_id}/replay",  "403 403 403 403 403 200 200", {"since": "2026-01-01T00:00:00Z"}),
    row("GET", "webhooks",                                 "200 200 200 200 200 200 200"),
    row("GET", "webhooks/{subscription_id}",               "200 200 200 404 404 200 200"),
    row("GET", "webhooks/{subscription_id}",               "404 404 404 404 404 404 404", subscription_id="inbox"),
    row("GET", "webhooks/{subscription_id}/logs",          "200 200 200 404 404 200 200"),
    row("GET", "webhooks/{subscription_id}/logs",          "200 403 403 404 404 200 200", query="answers=true"),
    row("POST", "webhooks/{subscription_id}/test",         "404 403 403 404 404 404 404", subscription_id="inbox"),
    row("POST", "webhooks/{subscription_id}/resend",       "200 403 403 404 404 200 200", MESSAGE),
    row("POST", "webhooks/{subscription_id}/recover",      "200 403 403 404 404 200 200", {"since": "2026-01-01T00:00:00Z"}),
    row("POST", "webhooks/{subscription_id}/rotate-secret", "200 403 403 404 404 200 200", {}),
    row("GET", "dead-letters/moves/{number}",              "403 403 403 403 403 200 200", number="move"),
    row("POST", "dead-letters/moves/{number}/undo",        "403 403 403 403 403 202 202", number="move"),
    row("POST", "breakers/{subscription_id}/reset",        "403 403 403 403 403 200 200"),
    row("GET", "topics/{name}",                            "200 200 200 200 200 200 200"),
    row("PATCH", "topics/{name}",                          "403 403 403 403 403 403 200", {"description": "new"}),
    row("DELETE", "topics/{name}",                         "403 403 403 403 403 403 204"),
    row("POST", "pull/{subscription_id}",                  "403 403 403 403 403 403 403", {}),
    row("POST", "pull/{subscription_id}/acknowledge",      "403 403 403 403 403 403 403", {"lease_ids": ["x"]}),
    row("POST", "pull/{subscription_id}/extend",           "403 403 403 403 403 403 403", {"lease_ids": ["x"]}),
    row("POST", "pull/{subscription_id}/return",           "403 403 403 403 403 403 403", {"lease_ids": ["x"]}),
    # last, because the CA's folder keeps what was revoked
    row("POST", "certificates/{serial}/revoke",            "403 403 403 403 403 403 200", {}),
    row("POST", "clients/{name}/revoke",                   "403 403 403 403 403 403 200", {}),
]  # fmt: skip

LISTED: dict[str, dict[str, set[str]]] = {
    "messages": {
        "owner": {"message_id", "scheduled"}, "member": {"message_id", "scheduled", "on_topic"},
        "manager": {"message_id", "scheduled", "on_topic"},
        "operator": {"message_id", "scheduled", "on_topic", "foreign", "sent"},
        "admin": {"message_id", "scheduled", "on_topic", "foreign", "sent"},
    },
    "clients": {
        "owner": {"name"}, "member": {"name"}, "manager": {"name"}, "operator": {"name", "other"}, "admin": {"name", "other"},
    },
    "groups": {
        "member": {"group_id"}, "manager": {"group_id"}, "outsider": {"their_group"},
        "user_manager": {"group_id", "their_group"}, "admin": {"group_id", "their_group"},
    },
    "subscriptions": {
        "owner": {"subscription_id", "inbox"}, "member": {"subscription_id", "inbox"}, "manager": {"subscription_id", "inbox"},
        "operator": {"subscription_id", "inbox", "their_webhook"}, "admin": {"subscription_id", "inbox", "their_webhook"},
    },
    "webhooks": {
        "owner": {"subscription_id"}, "member": {"subscription_id"}, "manager": {"subscription_id"},
        "operator": {"subscription_id", "their_webhook"}, "admin": {"subscription_id", "their_webhook"},
    },
}  # fmt: skip
"""What is in whose list; nothing in others'."""


@pytest.fixture
def objects(online: Cast) -> dict[str, Any]:
    """By the name of the path's variable, and others by a name of their own: the values."""
    shelf = Shelf(online.settings)
    like = online.person("user")
    for name in ("owner", "member", "manager", "outsider", "mate"):
        User.insert(
            email=f"{name}@example.org", role="user", password_hash=like.password_hash, created_at=clock.now()
        ).execute()  # fmt: skip
    group = groups.create("team", actor=TEST).id
    groups.set_manager(group, "manager@example.org", actor=TEST)
    groups.set_topics(group, ["theirs"], actor=TEST)
    for name in ("member", "mate"):
        group_members.add_member(group, f"{name}@example.org", actor=TEST)
    elsewhere = groups.create("another team", actor=TEST).id
    group_members.add_member(elsewhere, "outsider@example.org", actor=TEST)
    Client.insert(name="acme", owner="owner@example.org", group=group, created_at=clock.now()).execute()
    Client.insert(name="other", created_at=clock.now()).execute()
    Topic.insert(name="acme", created_at=clock.now()).execute()  # a client's name is a topic's, too
    issued = online.post(f"{API}/certificates", "admin", json={"name": "acme", **CSR})
    assert issued.status_code == 201, issued.text
    in_inbox = shelf.put(client_id="other")
    inbox.add([UUID(in_inbox).bytes], [users.find("owner@example.org").id], 1)
    one = record()
    failures.set_aside(one, KEY, "DataError: too long")
    mine = {"owner": "owner@example.org", "group_id": group}
    hook = webhook(online.settings, **mine).id
    delivery(shelf, hook, message=shelf.put(id=ids.parse(MESSAGE["message_id"]), client_id="nobody", topic="sent"))
    by_inbox = webhook(online.settings, channel="inbox", config={"group": group}, **mine).id
    people = {name: users.find(f"{name}@example.org").id for name in ("owner", "member", "mate", "operator")}
    now = clock.now()
    return {
        **people, "user_id": people["owner"], "group_id": group, "their_group": elsewhere, "name": "acme", "other": "other",
        "absent": "absent", "queue": "low",
        "serial": issued.json["serial"], "no_serial": "ab12", "component": _component(online),
        "message_id": shelf.put(client_id="acme"), "on_topic": shelf.put(client_id="other", topic="theirs"),
        "foreign": in_inbox, "item": InboxItem.get().id, "no_item": 999_999,
        "unknown": ids.text(ids.new()), "failure": ids.text(one.id),
        "scheduled": shelf.put(client_id="acme", status="scheduled", due_at=now + timedelta(days=1)),
        "session_id": ids.text(sessions.begin(online.tokens, users.find("owner@example.org")).session),
        "subscription_id": hook, "inbox": by_inbox, "their_webhook": webhook(online.settings).id, "sent": MESSAGE["message_id"],
        "number": announcements.create("soon", "info", now + timedelta(days=1), now + timedelta(days=2), actor=TEST).id,
        "move": _move(),
    }  # fmt: skip


def _move() -> int:
    made: Any = DeadLetterMove.insert(
        kind="retry", selection="{}", reason="", created_by="x", created_at=clock.now(), total=1, state="running"
    )
    return int(made.execute())


def _component(cast: Cast) -> str:
    bundle = certificates.issue(cast.settings, "proxy", "component", ["proxy.example.org"], days=90)
    return peer(bundle).serial


def test_no_endpoint_with_an_object_is_missing(cast: Cast) -> None:
    app = cast.http.app
    named = {one for one in routed(app) if "{" in one[1] or getattr(right_of(app, one), "own", None) is not None}
    assert named == {(row.method, row.path) for row in TABLE}


def test_each_object_is_for_whom_the_table_says(online: Cast, objects: dict[str, Any]) -> None:
    wrong = []
    for number, who in enumerate(WHO):
        token = online.token(who)
        for row in TABLE:
            with database.atomic() as change:
                found = online.call(row.method, _path(row, objects), token=token, json=row.body)
                change.rollback()
            expected = int(row.statuses.split()[number])
            if found.status_code != expected:
                wrong.append((who, row.method, row.path, row.query or row.named, f"{found.status_code}, not {expected}"))
    assert wrong == []


def test_a_list_holds_what_its_reader_may_see(online: Cast, objects: dict[str, Any]) -> None:
    for path, readers in LISTED.items():
        for who in WHO:
            items = online.get(f"{API}/{path}", who).json["items"]
            found = {item.get("message_id") or item.get("id") or item["name"] for item in items}
            assert found == {objects[name] for name in readers.get(who, ())}, (path, who)
    for who in WHO:
        sessions_of = online.get(f"{API}/auth/sessions", who).json["items"]
        assert (objects["session_id"] in {item["id"] for item in sessions_of}) == (who == "owner")


def test_what_must_not_be_known_to_exist_is_answered_like_what_does_not(online: Cast, objects: dict[str, Any]) -> None:
    """A 404 is worth something only when its words are the same, too."""
    for there, absent in (
        ("messages/{message_id}", "messages/{unknown}"),
        ("inbox/{item}", "inbox/{no_item}"),
        ("messages/{message_id}/body", "messages/{unknown}/body"),
        ("messages/{message_id}/timeline", "messages/{unknown}/timeline"),
        ("groups/{group_id}", "groups/999999"),
        ("groups/{group_id}/members", "groups/999999/members"),
        ("clients/{name}", "clients/{absent}"),
        ("messages/counts?client={name}", "messages/counts?client={absent}"),
        ("certificates?name={name}", "certificates?name={absent}"),
        ("certificates/{serial}", "certificates/{no_serial}"),
        ("subscriptions/{subscription_id}", "subscriptions/999999"),
        ("webhooks/{subscription_id}", "webhooks/999999"),
        ("webhooks/{subscription_id}/logs", "webhooks/999999/logs"),
    ):
        found, never = (online.get(f"{API}/{path.format(**objects)}", "outsider") for path in (there, absent))
        assert found.status_code == never.status_code == 404, there
        assert _without_names(found.json, objects) == _without_names(never.json, objects), there


def _path(row: Row, objects: dict[str, Any]) -> str:
    path = re.sub(r"{(\w+)}", lambda found: str(objects[row.named.get(found[1], found[1])]), row.path)
    return f"{path}?{row.query}" if row.query else path


def _without_names(document: dict[str, Any], objects: dict[str, Any]) -> dict[str, Any]:
    """A problem without what the caller asked for."""
    detail = str(document["detail"])
    objects_named = (
        "message_id", "unknown", "name", "absent", "serial", "no_serial", "group_id", "subscription_id", "item", "no_item",
    )  # fmt: skip
    for name in objects_named:
        detail = re.sub(rf"\b({objects[name]}|999999)\b", "…", detail)
    return {**document, "detail": detail}
