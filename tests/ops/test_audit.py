from __future__ import annotations

import peewee as pw
import pytest

from messagebroker.db.connection import connected
from messagebroker.db.connection import database as bound
from messagebroker.db.models import AuditEntry
from messagebroker.ops import audit

pytestmark = pytest.mark.usefixtures("database")


def test_a_row_says_who_did_what_to_which_object_and_from_where() -> None:
    audit.record("user:ada@example.org", "message.open", "message", "0190", "192.0.2.7", "Browser 1", {"client": "acme"})
    [entry] = audit.page(limit=10)
    assert (entry.actor, entry.action, entry.object_type, entry.object_id) == (
        "user:ada@example.org", "message.open", "message", "0190",
    )  # fmt: skip
    assert (entry.address, entry.user_agent, entry.details) == ("192.0.2.7", "Browser 1", {"client": "acme"})
    assert entry.created_at.tzinfo is not None


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


def test_pages() -> None:
    for number in range(5):
        audit.record("cli:test", "x", "y", str(number))
    newest = audit.page(limit=2)
    assert [entry.object_id for entry in newest] == ["4", "3"]
    assert [entry.object_id for entry in audit.page(limit=9, after=newest[-1].id)] == ["2", "1", "0"]
    assert [entry.object_id for entry in audit.page(limit=2, newest_first=False, after=newest[-1].id)] == ["4"]


@pytest.mark.parametrize("changed", ["{bad", "[1]"])
def test_a_row_that_was_changed_by_hand_hides_no_others(changed: str) -> None:
    for action in ("one", "two"):
        audit.record("cli:x", action, "thing", "1", details={"a": 1})
    AuditEntry.update(details=changed).where(AuditEntry.action == "one").execute()
    assert [entry.details for entry in audit.page(limit=2)] == [{"a": 1}, {"unreadable": changed}]
