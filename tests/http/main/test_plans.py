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
Query = dict[str, str]

LISTS: dict[str, list[Query]] = {
    f"{P}/auth/sessions": [{}],
    f"{P}/users/{{user_id}}/sessions": [{}],
    f"{P}/users": [{}, {"email": EMAIL}],
    f"{P}/groups": [{}],
    f"{P}/groups/{{group_id}}/members": [{}],
    f"{P}/clients": [{}, {"owner": EMAIL}, {"group_id": "1"}],
    f"{P}/certificates": [{}, {"name": "mine"}, {"ends_after": SINCE}, {"ends_before": UNTIL}],
    f"{P}/announcements": [{}, {"all": "true"}],
    f"{P}/ingest-failures": [{**way} for way in BOTH_WAYS],
    f"{P}/audit": [
        {**filters, **span, **way}
        for filters in ({}, {"actor": "user:a"}, {"action": "x"}, {"object_type": "user", "object_id": "1"})
        for span in ({}, SPAN)
        for way in BOTH_WAYS
    ],
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

OF_A_PERSON: dict[str, list[Query]] = {f"{P}/groups": [{}], f"{P}/clients": [{}], f"{P}/messages": [{}, {"status": "failed"}]}
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


FILLING: dict[str, Callable[[Cast], None]] = {
    f"{P}/auth/sessions": of_sessions,
    f"{P}/users/{{user_id}}/sessions": of_sessions,
    f"{P}/users": people,
    f"{P}/groups": of_groups,
    f"{P}/groups/{{group_id}}/members": of_members,
    f"{P}/clients": of_clients,
    f"{P}/certificates": of_certificates,
    f"{P}/announcements": of_announcements,
    f"{P}/ingest-failures": of_failures,
    f"{P}/audit": of_audit,
    f"{P}/messages": of_messages,
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
        real = path.format(user_id=cast.person("user").id, group_id=1)
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
