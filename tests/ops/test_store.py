from __future__ import annotations

from datetime import timedelta

import peewee as pw
import pytest
from support.records import KEY, KEYS, record, records

from messagebroker.db.models import DataKey, Message, MessageAlias
from messagebroker.ops import clock, stored_keys
from messagebroker.ops import store as storing
from messagebroker.ops.records import SealedKey
from messagebroker.ops.store import store


@pytest.fixture(autouse=True)
def _fresh(database: pw.Database) -> None:
    stored_keys._known.clear()


def count() -> int:
    return int(Message.select().count())


def test_every_field_comes_back_as_it_went_in() -> None:
    now = clock.now()
    one = record(
        id=bytes(range(16)),
        expires_at=clock.micros(now + timedelta(days=1)),
        deliver_at=clock.micros(now + timedelta(hours=1)),
        sender_hash=b"\x00" * 16,
        idempotency_key=bytes(range(20)),
        correlation_id="it's \\ ‘ü’ \x00 %s 日本",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        certificate="4f" * 20,
    )
    store([one], KEYS, now=now)
    row = Message.get()
    assert (bytes(row.id), row.client_id, row.topic, row.priority) == (one.id, "acme", "orders.created", 2)
    assert (row.status, row.routed, row.attempts, row.size) == ("scheduled", 0, 0, 200)
    assert (row.created_at, row.stored_at) == (clock.from_micros(one.accepted_at), now)
    assert (row.due_at, row.expires_at) == (now + timedelta(hours=1), now + timedelta(days=1))
    assert (bytes(row.sender_hash), bytes(row.idempotency_key)) == (b"\x00" * 16, bytes(range(20)))
    assert (row.correlation_id, row.traceparent) == (one.correlation_id, one.traceparent)
    assert row.certificate == one.certificate
    assert (bytes(row.data_key_id), bytes(row.payload)) == (KEY.id, one.sealed)


def test_what_is_read_with_parameters_finds_what_was_written_with_literals() -> None:
    one = record(client="a-b.c_d", topic="x/y-z.9", idempotency_key=b"i" * 20)
    store([one], KEYS, now=clock.now())
    same = (Message.id == one.id) & (Message.client_id == "a-b.c_d") & (Message.topic == "x/y-z.9")
    assert Message.select().where(same & (Message.idempotency_key == b"i" * 20)).exists()


def test_nothing_is_stored_twice() -> None:
    many = records(50)
    assert store(many, KEYS, now=clock.now()).stored == 50
    again = store(many[:30] + records(5) + many[:2], KEYS, now=clock.now())
    assert (again.stored, again.duplicates, count()) == (5, 32, 55)


def test_an_id_that_repeats_within_one_list_is_stored_once() -> None:
    one = record()
    found = store([one, one, record()], KEYS, now=clock.now())
    assert (found.stored, found.duplicates, count()) == (2, 1, 2)


def test_a_later_copy_under_an_idempotency_key_becomes_an_alias() -> None:
    first, later, latest = (record(idempotency_key=b"k" * 20) for _ in range(3))
    store([first], KEYS, now=clock.now())
    found = store([later, record(), latest], KEYS, now=clock.now())
    assert (found.stored, found.aliased, count()) == (1, 2, 2)
    assert {bytes(alias.id): bytes(alias.message_id) for alias in MessageAlias.select()} == {
        later.id: first.id,
        latest.id: first.id,
    }
    assert store([later], KEYS, now=clock.now()).duplicates == 1, "redelivered"


def test_a_copy_of_a_message_that_the_cleanup_removes_meanwhile_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sender has a 202 for it, and nothing else answers for it any more."""
    first, later = (record(idempotency_key=b"k" * 20) for _ in range(2))
    stored = record()
    store([first, stored], KEYS, now=clock.now())
    sort_out = storing._sort_out
    looked = [sort_out([later, stored])]
    Message.delete().where(Message.id == first.id).execute()
    monkeypatch.setattr(storing, "_sort_out", lambda records: looked.pop() if looked else sort_out(records))
    found = store([later, stored], KEYS, now=clock.now())
    assert looked == []
    assert (found.stored, found.aliased, found.duplicates) == (1, 0, 1)
    assert {bytes(row.id) for row in Message.select()} == {later.id, stored.id}


def test_copies_under_one_key_within_one_list() -> None:
    first, later = (record(idempotency_key=b"k" * 20) for _ in range(2))
    found = store([first, later], KEYS, now=clock.now())
    assert (found.stored, found.aliased) == (1, 1)


@pytest.mark.parametrize(
    ("deliver", "expire", "status"),
    [(None, None, "delivered"), (5, None, "scheduled"), (-5, None, "delivered"), (None, -1, "expired"), (5, 9, "scheduled")],
)
def test_the_status_follows_the_times(deliver: int | None, expire: int | None, status: str) -> None:
    now = clock.now()
    at = {name: clock.micros(now + timedelta(seconds=s)) for name, s in (("deliver_at", deliver), ("expires_at", expire)) if s}
    found = store([record(**at)], KEYS, now=now)
    assert found.statuses == {status: 1}
    row = Message.get()
    assert row.status == status
    assert (row.due_at is not None) == (status == "scheduled")


@pytest.mark.parametrize(
    "bad",
    [
        {"id": b"short"},
        {"idempotency_key": b"x" * 19},
        {"sender_hash": b""},
        {"accepted_at": -1},
        {"accepted_at": 10**18},
        {"data_key_id": b"?" * 16},
    ],
)
def test_a_record_that_cannot_be_a_row_stores_nothing(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"bytes|years|lacks"):
        store([*records(3), record(**bad)], KEYS, now=clock.now())
    assert count() == 0


def test_a_data_key_is_written_once_and_its_last_sight_is_kept_fresh() -> None:
    now = clock.now()
    store([record()], KEYS, now=now)
    stored_keys._known.clear()  # a minute passes
    store([record()], KEYS, now=now + timedelta(minutes=1))
    key = DataKey.get()
    assert (bytes(key.id), bytes(key.sealed), bytes(key.master_key_id)) == (KEY.id, KEY.sealed, KEY.master_key_id)
    assert (key.created_at, key.last_seen_at) == (clock.from_micros(KEY.created_at), now + timedelta(minutes=1))


def test_a_key_whose_row_was_rolled_back_is_written_again() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        store([record(id=b"short")], KEYS, now=clock.now())
    store([record()], KEYS, now=clock.now())
    assert DataKey.select().count() == 1


def test_a_key_that_the_database_has_lost_is_written_again() -> None:
    """It may be a restored backup by now, or a replica: without its key a message can never be opened."""
    store([record()], KEYS, now=clock.now())
    DataKey.delete().execute()
    other = SealedKey(id=b"o" * 16, master_key_id=b"m" * 8, sealed=b"s" * 80, created_at=1_700_000_000_000_000)
    again = record()
    store([record(), record(data_key_id=other.id), again], KEYS | {other.id: other}, now=clock.now())
    assert {bytes(key.id) for key in DataKey.select()} == {KEY.id, other.id}
    DataKey.delete().execute()
    store([record(), again], KEYS, now=clock.now())
    assert [bytes(key.id) for key in DataKey.select()] == [KEY.id], "the slow way"


def test_a_large_list_takes_several_statements_and_one_transaction() -> None:
    many = [record(sealed=bytes(100_000)) for _ in range(30)]  # 6 MB of hexadecimal
    with pytest.raises(ValueError, match="16 bytes"):
        store([*many, record(id=b"short")], KEYS, now=clock.now())
    assert count() == 0
    assert store(many, KEYS, now=clock.now()).stored == 30
