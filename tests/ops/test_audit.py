from __future__ import annotations

import re
import statistics
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import peewee as pw
import pytest

from messagebroker.db.connection import connected
from messagebroker.db.connection import database as bound
from messagebroker.db.models import AuditEntry
from messagebroker.ops import audit, clock, keyring
from messagebroker.ops.audit import LONGEST_ACTOR, Actor, Filters
from messagebroker.settings import load

pytestmark = pytest.mark.usefixtures("database")


def test_a_row_says_who_did_what_to_which_object_and_from_where() -> None:
    audit.record("user:ada@example.org", "message.open", "message", "0190", "192.0.2.7", "Browser 1", {"client": "acme"})
    [entry] = audit.page(limit=10)
    assert (entry.actor, entry.action, entry.object_type, entry.object_id) == (
        "user:ada@example.org", "message.open", "message", "0190",
    )  # fmt: skip
    assert (entry.address, entry.user_agent, entry.details) == ("192.0.2.7", "Browser 1", {"client": "acme"})
    assert entry.created_at.tzinfo is not None


def test_who_acts_fits_into_every_column() -> None:
    """An address may have 254 characters, and a word stands before it."""
    assert len(Actor(name="user:" + "a" * 254).name) == LONGEST_ACTOR


def test_what_strangers_write_cannot_break_it() -> None:
    audit.record("cli:test", "x", "y", "z" * 999, "2001:db8::1" * 9, "line\r\nend\x00 ünï" + "a" * 999)
    [entry] = audit.page(limit=10)
    assert entry.user_agent
    assert entry.user_agent.startswith("line??end? ?n?a")
    assert (len(entry.object_id), len(entry.user_agent), len(entry.address or "")) == (254, 255, 45)


def test_it_ends_with_the_transaction_that_it_belongs_to(database: pw.Database) -> None:
    with connected(), bound.atomic() as transaction:
        audit.record("cli:test", "x", "y", "z")
        transaction.rollback()
    assert audit.page(limit=10) == []


@pytest.mark.clocked
def test_it_costs_the_request_less_than_a_millisecond(database: pw.Database, tmp_path: Path) -> None:
    """A row in the request's own transaction, signed; the best of five, since others use this machine too."""
    keyring.first_secrets(load({}, data_dir=tmp_path, environment="test"))
    medians = []
    for _ in range(5):
        seconds = []
        with connected(), bound.atomic():
            for number in range(100):
                began = time.perf_counter()
                audit.record("user:ada@example.org", "message.open", "message", "0190", "192.0.2.7", "Browser 1", {"n": number})
                seconds.append(time.perf_counter() - began)
        medians.append(statistics.median(seconds))
    assert AuditEntry.get().signature is not None
    assert min(medians) < 0.001


def place(entry: audit.Entry) -> audit.Position:
    return entry.created_at, entry.id


def test_pages() -> None:
    for number in range(5):
        audit.record("cli:test", "x", "y", str(number))
    newest = audit.page(limit=2)
    assert [entry.object_id for entry in newest] == ["4", "3"]
    assert [entry.object_id for entry in audit.page(limit=9, after=place(newest[-1]))] == ["2", "1", "0"]
    assert [entry.object_id for entry in audit.page(limit=2, newest_first=False, after=place(newest[-1]))] == ["4"]


FILTERS = {
    "actor": Filters(actor="user:b@x.y"),
    "action": Filters(action="user.login"),
    "object": Filters(object_type="user", object_id="7"),
    "nothing": Filters(),
}


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Rows of a day, ten of them at each moment."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    moment = began
    monkeypatch.setattr(clock, "now", lambda: moment)
    with connected(), bound.atomic():
        for number in range(200):
            moment = began + timedelta(minutes=number // 10)
            actor, action = ("user:a@x.y", "user:b@x.y")[number % 2], ("user.login", "user.logout", "x")[number % 3]
            audit.record(actor, action, "user", str(number % 9))
    monkeypatch.undo()
    return began


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_every_filter_finds_each_of_its_rows_once_at_any_depth(mixed: datetime, filters: Filters, newest_first: bool) -> None:
    filters = replace(filters, since=mixed + timedelta(minutes=2), until=mixed + timedelta(minutes=15))
    seen: list[audit.Entry] = []
    while found := audit.page(limit=7, newest_first=newest_first, after=place(seen[-1]) if seen else None, filters=filters):
        seen += found
    expected = [
        entry.id
        for entry in audit.page(limit=999, newest_first=newest_first)
        if all(
            getattr(entry, name) == value
            for name, value in vars(filters).items()
            if value is not None and name not in ("since", "until")
        )
        and filters.since <= entry.created_at < filters.until  # type: ignore[operator]
    ]
    assert [entry.id for entry in seen] == expected
    assert expected


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_pages_on_its_index(database: pw.Database, mixed: datetime, name: str, after: bool) -> None:
    rows = [
        {
            "created_at": mixed,
            "actor": f"user:{n % 50}",
            "action": f"a{n % 20}",
            "object_type": "user",
            "object_id": str(n % 99),
        }
        for n in range(3000)
    ]
    with connected():
        AuditEntry.insert_many(rows).execute()
        bound.execute_sql("ANALYZE" if isinstance(database, pw.SqliteDatabase) else "ANALYZE TABLE audit_log")
    statements: list[tuple[str, Any]] = []
    run = bound.obj.execute_sql
    try:
        bound.obj.execute_sql = lambda sql, params=None, **more: statements.append((sql, params)) or run(sql, params, **more)
        audit.page(limit=51, after=(mixed + timedelta(minutes=5), 60) if after else None, filters=FILTERS[name])
    finally:
        del bound.obj.execute_sql
    with connected():
        sql, params = next(statement for statement in statements if "audit_log" in statement[0])  # the other is by id
        plan = explained(sql, params)
    column = {"object": "object_type_object_id", "nothing": ""}.get(name, name)
    used = re.findall(r"(?:audit_log|auditentry)_(\w*?)_?created_at\b", plan)
    assert used, plan
    assert set(used) == {column}, plan
    assert "filesort" not in plan, plan
    assert "key=" not in plan or not after or "type=range" in plan, plan  # not from the beginning to there
    assert "TEMP B-TREE" not in plan, plan


def explained(sql: str, params: Any) -> str:
    """The plan, without the indexes that were only thought of."""
    if isinstance(bound.obj, pw.SqliteDatabase):
        return " ".join(str(row[3]) for row in bound.execute_sql("EXPLAIN QUERY PLAN " + sql, params).fetchall())
    cursor = bound.execute_sql("EXPLAIN " + sql, params)
    names = [column[0].lower() for column in cursor.description]
    return " ".join(f"{name}={value}" for name, value in zip(names, cursor.fetchone(), strict=True) if name != "possible_keys")


@pytest.mark.parametrize(
    "given",
    [
        {"actor": "a", "action": "b"},
        {"object_type": "a"},
        {"object_id": "a"},
        {"actor": "a", "object_type": "b", "object_id": "c"},
    ],
    ids=str,
)
def test_other_combinations_are_refused_with_those_that_go(given: dict[str, str]) -> None:
    with pytest.raises(
        audit.Unindexed, match=f"no index serves {' with '.join(given)}; give one of actor, action, or object_type"
    ):
        audit.page(limit=1, filters=Filters(**given))


def test_moments_that_no_database_knows(mixed: datetime) -> None:
    far = timezone(timedelta(hours=14))
    first, last = datetime(1, 1, 1, tzinfo=far), datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-14)))
    assert len(audit.page(limit=999, filters=Filters(since=first, until=last))) == 200
    assert audit.page(limit=1, filters=Filters(until=first)) == []


@pytest.mark.parametrize("changed", ["{bad", "[1]"])
def test_a_row_that_was_changed_by_hand_hides_no_others(changed: str) -> None:
    for action in ("one", "two"):
        audit.record("cli:x", action, "thing", "1", details={"a": 1})
    AuditEntry.update(details=changed).where(AuditEntry.action == "one").execute()
    assert [entry.details for entry in audit.page(limit=2)] == [{"a": 1}, {"unreadable": changed}]
