"""Every list of the API, with every filter that it offers, is read page by page from an index; MariaDB and MySQL say so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support.cast import Cast
from support.plans import counting_reads, explain, rows_by_name, statements

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.ops import clock, ids, keyring

ROWS, PAGE, MOST_READ = 2400, 20, 600
"""A page at depth may read what it shows a few times over (7 parts of a topic, 9 of a person), not what lies before it."""
EMAIL, OTHER = "user@example.org", "somebody@example.org"
NOW = clock.now()
SINCE, UNTIL = ((NOW + timedelta(minutes=minutes)).isoformat() for minutes in (-ROWS + 10, -10))
SPAN = {"since": SINCE, "until": UNTIL}
BOTH_WAYS = ({"order": "asc"}, {"order": "desc"})
P = "/api/v1"
MARK = f"{7:016x}"
Query = dict[str, str]

LISTS: dict[str, list[Query]] = {
    f"{P}/auth/sessions": [{}],
    f"{P}/users/{{user_id}}/sessions": [{}],
    f"{P}/users": [{}, {"email": EMAIL}],
    f"{P}/groups": [{}],
    f"{P}/groups/{{group_id}}/members": [{}],
    f"{P}/clients": [{}, {"owner": EMAIL}, {"group_id": "1"}],
    f"{P}/topics": [{}],
    f"{P}/certificates": [{}, {"name": "mine"}, {"ends_after": SINCE}, {"ends_before": UNTIL}],
    f"{P}/announcements": [{}, {"all": "true"}],
    f"{P}/inbox": [{}, {"unread": "true"}],
    f"{P}/ingest-failures": [{**way} for way in BOTH_WAYS],
    f"{P}/breakers": [{}, {"state": "open"}, {"state": "closed"}],
    f"{P}/breakers/events": [{}, {"subscription_id": "7"}],
    f"{P}/workers": [{}],
    f"{P}/dead-letters/groups": [{}],
    f"{P}/dead-letters/moves": [{}],
    f"{P}/dead-letters": [
        {}, {"subscription_id": "1"}, {"subscription_id": "1", "fingerprint": MARK},
        {"subscription_id": "1", "fingerprint": MARK, **SPAN},
    ],
    f"{P}/audit": [
        {**filters, **span, **way}
        for filters in ({}, {"actor": "user:a"}, {"action": "x"}, {"object_type": "user", "object_id": "1"})
        for span in ({}, SPAN)
        for way in BOTH_WAYS
    ],
    f"{P}/subscriptions": [{}, {"channel": "webhook"}, {"owner": EMAIL}],
    f"{P}/webhooks": [{}],
    f"{P}/webhooks/{{subscription_id}}/logs": [{}, {"outcome": "retry"}, {"answers": "true"}],
    f"{P}/webhooks/allowed-networks": [{}],
    f"{P}/messages": [
        *({"status": "scheduled", **way} for way in BOTH_WAYS),
        *(
            {**filters, **span, **way}
            for filters in (
                {}, {"client": "mine"}, {"client": "mine", "status": "failed"}, {"topic": "orders"},
                {"topic": "orders", "status": "failed"}, {"status": "failed"}, {"correlation_id": "c"}, {"sender": "s"},
            )
            for span in ({}, SPAN)
            for way in BOTH_WAYS
        ),
    ],
}  # fmt: skip
"""What each list offers."""

OF_A_PERSON: dict[str, list[Query]] = {
    f"{P}/groups": [{}], f"{P}/clients": [{}], f"{P}/messages": [{}, {"status": "failed"}],
    f"{P}/subscriptions": [{}, {"channel": "webhook"}], f"{P}/webhooks": [{}],
}  # fmt: skip
"""The same lists for somebody who sees a part."""


def test_no_list_and_no_filter_is_forgotten(cast: Cast) -> None:
    asked = {
        path: {one["name"] for one in methods.get("get", {}).get("parameters", ()) if one["in"] == "query"}
        for path, methods in cast.get("/openapi.json").json["paths"].items()
    }
    offered = {path: names - {"limit", "cursor"} for path, names in asked.items() if "cursor" in names}
    assert {path: {name for query in queries for name in query} for path, queries in LISTS.items()} == offered


def put(model: Any, rows: Callable[[int], dict[str, Any]], numbers: range = range(ROWS)) -> None:
    for at in range(0, len(numbers), 800):
        model.insert_many([rows(number) for number in numbers[at : at + 800]]).execute()
    database = model._meta.database
    database.execute_sql(f"ANALYZE TABLE {model._meta.table_name}").fetchall()


def at(number: int) -> Any:
    return NOW - timedelta(minutes=number)


def own_id(number: int) -> bytes:
    return ids.floor(at(number))[:8] + number.to_bytes(8)


def people(cast: Cast) -> None:
    put(models.User, lambda n: {"email": f"p{n:05}@example.org", "role": "user", "password_hash": "x", "created_at": NOW})


def of_sessions(cast: Cast) -> None:
    """Most have ended or expired; half are one person's."""
    mine, theirs = cast.person("user").id, cast.person("admin").id
    put(models.Session, lambda n: {
        "id": own_id(n), "user": (mine, theirs)[n % 2], "created_at": NOW, "seen_at": NOW, "refresh_hash": bytes(32),
        "expires_at": NOW + timedelta(days=-1 if n % 5 == 0 else 1), "ended_at": None if n % 3 else NOW,
    })  # fmt: skip


def of_groups(cast: Cast) -> None:
    me, other = cast.person("user").id, cast.person("admin").id
    put(models.Group, lambda n: {"id": n + 1, "name": f"g{n}", "manager": other if n % 3 else me, "created_at": NOW})
    put(models.GroupMember, lambda n: {"group": n + 1, "user": me if n % 3 == 1 else other, "added_at": NOW})


def of_members(cast: Cast) -> None:
    people(cast)
    found = [user.id for user in models.User.select(models.User.id)]
    for group in (1, 2):
        models.Group.insert(id=group, name=f"g{group}", created_at=NOW).execute()
        put(models.GroupMember, lambda n, group=group: {"group": group, "user": found[n], "added_at": NOW})


def of_clients(cast: Cast) -> None:
    models.Group.insert(id=1, name="g", created_at=NOW).execute()
    models.GroupMember.insert(group=1, user=cast.person("user").id, added_at=NOW).execute()
    put(models.Client, lambda n: {
        "name": f"c{n:05}", "owner": EMAIL if n % 3 == 0 else OTHER, "group": 1 if n % 3 == 1 else None, "created_at": NOW,
    })  # fmt: skip


def of_topics(cast: Cast) -> None:
    put(models.Topic, lambda n: {
        "name": f"t.{n:05}", "schema": "s" * 2000 if n % 2 else None, "must_route": n % 7 == 0, "created_at": NOW,
    })  # fmt: skip


def of_certificates(cast: Cast) -> None:
    put(models.Certificate, lambda n: {
        "serial": f"{n * 7919 % 10**6:040x}", "name": "mine" if n % 3 == 0 else f"c{n % 40}", "kind": "client",
        "pem": "x" * 700, "not_before": NOW - timedelta(days=9), "not_after": at(n),
    })  # fmt: skip


def of_announcements(cast: Cast) -> None:
    """Many are over, many to come; those of now have long texts."""
    put(models.Announcement, lambda n: {
        "text": "t" * 500, "severity": "info", "starts_at": NOW + timedelta(days=9 if n % 4 == 0 else -9),
        "ends_at": NOW + timedelta(days=20 if n % 3 else -1, minutes=n // 3), "created_by": "x", "created_at": NOW,
    })  # fmt: skip


def of_failures(cast: Cast) -> None:
    """Several in the same moment."""
    put(models.IngestFailure, lambda n: {
        "id": own_id(n), "client_id": "mine", "accepted_at": NOW, "failed_at": at(n // 4), "error": "e" * 300,
        "record": bytes(500),
    })  # fmt: skip


def of_breakers(cast: Cast) -> None:
    """Some were removed; half are open."""
    put(models.Subscription, lambda n: {
        "name": "s", "channel": "webhook", "topics": "[]", "config": "{}", "created_at": NOW, "changed_at": NOW,
        "removed_at": None if n % 5 else NOW, "breaker": ("open", "closed")[n % 2], "breaker_at": at(n),
    })  # fmt: skip


def of_breaker_events(cast: Cast) -> None:
    put(models.BreakerEvent, lambda n: {
        "subscription_id": 7 if n % 3 == 0 else n % 40 + 10, "created_at": at(ROWS - n), "state": "open", "why": "e" * 300,
    })  # fmt: skip


def of_workers(cast: Cast) -> None:
    put(models.Heartbeat, lambda n: {
        "instance": own_id(n).hex(), "role": "worker" if n % 2 else "scheduler", "host": "h", "pid": n, "started_at": NOW,
        "seen_at": NOW, "details": '{"threads": 3}',
    })  # fmt: skip


def of_audit(cast: Cast) -> None:
    put(models.AuditEntry, lambda n: {
        "created_at": at(ROWS - n), "actor": f"user:{'abc'[n % 3]}", "action": "xyz"[n // 3 % 3], "object_type": "user",
        "object_id": str(n // 9 % 3),
    })  # fmt: skip


def of_messages(cast: Cast) -> None:
    models.Client.insert(name="mine", owner=EMAIL, created_at=NOW).execute()
    models.Group.insert(id=1, name="g", created_at=NOW).execute()
    models.GroupMember.insert(group=1, user=cast.person("user").id, added_at=NOW).execute()
    models.GroupTopic.insert(group=1, topic="orders", added_at=NOW).execute()
    sender = keyring.sender_hash(keyring.sender_key(cast.settings), "s")
    put(models.Message, lambda n: {
        "id": own_id(n), "client_id": ("mine", "theirs")[n % 2], "topic": ("orders", "other")[n // 2 % 2], "priority": 1,
        "status": ("failed", "scheduled")[n // 4 % 2], "created_at": at(n), "stored_at": at(n),
        "due_at": at(n // 3) if n // 4 % 2 else None, "size": 1, "sender_hash": sender if n % 3 else bytes(16),
        "correlation_id": "c" if n % 3 else "d", "data_key_id": bytes(16), "payload": bytes(300),
    })  # fmt: skip


def of_subscriptions(cast: Cast) -> None:
    """A third were removed; most are webhooks."""
    models.Group.insert(id=1, name="g", created_at=NOW).execute()
    models.GroupMember.insert(group=1, user=cast.person("user").id, added_at=NOW).execute()
    put(models.Subscription, lambda n: {
        "name": f"s{n}", "channel": "inbox" if n % 5 == 1 else "webhook", "topics": '["orders"]', "created_at": NOW,
        "config": '{"user": "a@example.org"}' if n % 5 == 1 else '{"url": "https://shop.example.org"}', "changed_at": NOW,
        "owner": EMAIL if n % 2 == 0 else OTHER, "group": 1 if n % 4 == 1 else None, "removed_at": NOW if n % 3 == 2 else None,
    })  # fmt: skip


def of_attempts(cast: Cast) -> None:
    """Half of them are another subscription's; most were delivered."""
    of_messages(cast)
    models.Subscription.insert(
        id=1, name="s", channel="webhook", topics='["orders"]', config='{"url": "https://shop.example.org"}', created_at=NOW,
        changed_at=NOW,
    ).execute()  # fmt: skip
    put(models.DeliveryAttempt, lambda n: {
        "message": own_id(n), "subscription_id": 1 + n % 9 // 8, "number": 1, "started_at": at(n), "duration_ms": 5,
        "outcome": ("retry", "delivered", "retry", "failed")[n % 4], "error": "e" * 300, "request": "{}",
    })  # fmt: skip


def of_networks(cast: Cast) -> None:
    put(models.AllowedNetwork, lambda n: {
        "network": f"10.{n // 256}.{n % 256}.0/24", "reason": "r" * 200, "added_by": "cli:x", "added_at": NOW,
    })  # fmt: skip


def of_inbox(cast: Cast) -> None:
    """Half are one person's, some of them read; they are very many beside the few of a page."""
    of_messages(cast)
    models.InboxItem.insert_many(
        [
            {
                "id": n + 1,
                "user": cast.person(("user", "admin")[n % 2]).id,
                "message": own_id(n),
                "subscription_id": 1,
                "created_at": at(n),
                "read_at": None if n % 10 else NOW,
            }
            for n in range(ROWS)
        ]
    ).execute()
    for table in ("inbox_items", "messages"):
        models.InboxItem._meta.database.execute_sql(f"ANALYZE TABLE {table}").fetchall()


def of_dead_letters(cast: Cast) -> None:
    """Between as many that were delivered."""
    of_messages(cast)
    put(models.Delivery, lambda n: {
        "message": own_id(n // 2), "subscription_id": n % 2 + 1, "priority": 1, "status": "failed", "attempts": 8,
        "created_at": NOW, "ended_at": NOW, "fingerprint": MARK if n % 2 == 0 else f"{n:016x}", "error": "e",
    }, range(2 * ROWS))  # fmt: skip
    put(models.Delivery, lambda n: {
        "message": own_id(n), "subscription_id": 3, "priority": 1, "status": "delivered", "attempts": 1, "created_at": NOW,
        "ended_at": NOW,
    })  # fmt: skip


def of_groups_of_dead_letters(cast: Cast) -> None:
    """Each of two."""
    of_messages(cast)
    put(models.Delivery, lambda n: {
        "message": own_id(n), "subscription_id": n % 2 + 1, "priority": 1, "status": "failed", "attempts": 8,
        "created_at": NOW, "ended_at": NOW, "fingerprint": f"{n // 4:016x}", "error": "e",
    })  # fmt: skip


def of_moves(cast: Cast) -> None:
    put(models.DeadLetterMove, lambda n: {
        "kind": "retry", "selection": "{}", "reason": "", "created_by": "x", "created_at": NOW, "total": 1, "state": "final",
    })  # fmt: skip


FILLING: dict[str, Callable[[Cast], None]] = {
    f"{P}/auth/sessions": of_sessions,
    f"{P}/users/{{user_id}}/sessions": of_sessions,
    f"{P}/users": people,
    f"{P}/groups": of_groups,
    f"{P}/groups/{{group_id}}/members": of_members,
    f"{P}/clients": of_clients,
    f"{P}/topics": of_topics,
    f"{P}/certificates": of_certificates,
    f"{P}/announcements": of_announcements,
    f"{P}/inbox": of_inbox,
    f"{P}/ingest-failures": of_failures,
    f"{P}/breakers": of_breakers,
    f"{P}/breakers/events": of_breaker_events,
    f"{P}/workers": of_workers,
    f"{P}/dead-letters/groups": of_groups_of_dead_letters,
    f"{P}/dead-letters": of_dead_letters,
    f"{P}/dead-letters/moves": of_moves,
    f"{P}/audit": of_audit,
    f"{P}/messages": of_messages,
    f"{P}/subscriptions": of_subscriptions,
    f"{P}/webhooks": of_subscriptions,
    f"{P}/webhooks/{{subscription_id}}/logs": of_attempts,
    f"{P}/webhooks/allowed-networks": of_networks,
}


def assert_by_an_index(sent: list[tuple[str, Any]], why: str) -> None:
    """The statement that makes the page. Others look up what the page shows by its keys."""
    paging = [(sql, params) for sql, params in sent if "LIMIT" in sql and (params is None or 1 not in params[-1:])]
    assert paging, why
    for sql, params in paging:
        for plan in rows_by_name(f"{explain()} {sql}", params):
            if plan["table"] is None or plan["table"].startswith("<") or plan["table"] == "parts":
                continue  # what parts that were read from an index are put together in
            told = f"{why}: {sql} {plan}"
            assert plan["key"] and plan["type"] != "ALL", told  # noqa: PT018 - one question
            assert "filesort" not in (plan["Extra"] or "") and "temporary" not in (plan["Extra"] or ""), told  # noqa: PT018


@pytest.mark.parametrize("database", ["mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("role", ["admin", "user"])
@pytest.mark.parametrize("path", LISTS)
def test_every_filter_is_paged_by_an_index(cast: Cast, database: pw.Database, path: str, role: str) -> None:
    asked = LISTS[path] if role == "admin" else OF_A_PERSON.get(path, [])
    who = "user" if path.endswith("/auth/sessions") else role
    with connected():
        FILLING[path](cast)
        real = path.format(user_id=cast.person("user").id, group_id=1, subscription_id=1)
        headers = {"Authorization": f"Bearer {cast.token(who)}"}
        for query in asked:
            check(cast, real, query, headers)


def check(cast: Cast, path: str, query: Query, headers: dict[str, str]) -> None:
    """The first page, and one behind at least 400 rows, unless the filter is for one row."""
    position: Query = {}
    for limit in (PAGE, 200, 200, PAGE):
        why = f"{path} {query} {'deep' if position else 'first'}"
        with statements() as sent, counting_reads() as read:
            answer = cast.http.simulate_get(path, params={**query, **position, "limit": limit}, headers=headers)
        assert answer.status_code == 200, answer.text
        assert_by_an_index(sent, why)
        if limit == PAGE:
            assert read[0] < MOST_READ, f"{why} read {read[0]} rows"
        if "email" in query:
            return
        position = {"cursor": answer.json["next"]}
    assert len(answer.json["items"]) == PAGE
