from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path

import peewee as pw
import pytest
from support.installed import Installed, count, forget_written_keys, url_of

from messagebroker.db import cleaning
from messagebroker.db.models import FINAL_STATUSES, OPEN_STATUSES, DataKey, Message, MessageAlias
from messagebroker.errors import Refused
from messagebroker.ops import clock, ids, retention
from messagebroker.ops.retention import cleanup


@pytest.fixture
def installed(database: pw.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    forget_written_keys()
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.0)
    return Installed(tmp_path, database_url=url_of(database))


def id_of(moment: datetime, number: int) -> bytes:
    return ids.floor(moment)[:8] + number.to_bytes(8, "big")


def store_old(installed: Installed, days: float, count: int, status: str = "delivered", first: int = 0) -> list[bytes]:
    """Messages that were accepted so many days ago, in that status."""
    moment = clock.now() - timedelta(days=days)
    made = [
        installed.store(1, id=id_of(moment, number), accepted_at=clock.micros(moment))[0]
        for number in range(first, first + count)
    ]
    Message.update(status=status).where(Message.id.in_(made)).execute()
    return made


def test_open_messages_stay_however_old_they_are(installed: Installed) -> None:
    for number, status in enumerate((*OPEN_STATUSES, *FINAL_STATUSES)):
        store_old(installed, 100, 2, status, first=number * 10)
        store_old(installed, 10, 1, status, first=number * 10)
    cleaned = cleanup(installed.settings)
    assert cleaned.messages == dict.fromkeys(FINAL_STATUSES, 2)
    left = [row.status for row in Message.select()]
    assert sorted(left) == sorted([*OPEN_STATUSES * 3, *FINAL_STATUSES])


def test_days_decide_and_a_dry_run_only_counts(installed: Installed) -> None:
    store_old(installed, 3, 5)
    store_old(installed, 1.5, 5)
    assert cleanup(installed.settings, 2, dry_run=True).messages == {"delivered": 5}
    assert count() == 10
    assert cleanup(installed.settings, 4).total == 0
    assert cleanup(installed.settings, 2).total == 5
    assert count() == 5
    with pytest.raises(Refused, match="the least is 1"):
        cleanup(installed.settings, 0)


def test_aliases_go_with_their_message(installed: Installed) -> None:
    old, new = store_old(installed, 100, 1)[0], store_old(installed, 1, 1)[0]
    for alias, message in ((b"a" * 16, old), (b"b" * 16, new)):
        MessageAlias.insert(id=alias, message=message, created_at=clock.now()).execute()
    cleanup(installed.settings)
    assert [bytes(row.id) for row in MessageAlias.select()] == [b"b" * 16]


def test_small_batches_beside_a_writer(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 20)
    batches: list[int] = []
    delete = cleaning.delete_final_messages

    def watched(window: list[bytes]) -> dict[str, int]:
        batches.append(len(window))
        return delete(window)

    monkeypatch.setattr(cleaning, "delete_final_messages", watched)
    store_old(installed, 100, 50)
    store_old(installed, 99, 50, "pending")
    store_old(installed, 98, 50)
    stop, written, errors = threading.Event(), [0], []

    def write() -> None:
        while not stop.is_set():
            try:
                installed.store(5)
            except Exception as error:  # noqa: BLE001
                errors.append(error)
            written[0] += 5

    writer = threading.Thread(target=write)
    writer.start()
    try:
        cleaned = cleanup(installed.settings)
    finally:
        stop.set()
        writer.join()
    assert errors == []
    assert (cleaned.total, max(batches), len(batches)) == (100, 20, 8)
    assert written[0] > 0
    assert count() == 50 + written[0]


def test_it_stops_after_the_batch_in_hand(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    store_old(installed, 100, 30)
    stop = threading.Event()
    delete = cleaning.delete_final_messages

    def then_stop(window: list[bytes]) -> dict[str, int]:
        stop.set()
        return delete(window)

    monkeypatch.setattr(cleaning, "delete_final_messages", then_stop)
    assert cleanup(installed.settings, stop=stop).total == 10
    assert count() == 20


def test_data_keys_go_when_no_message_names_them_any_more(installed: Installed) -> None:
    now = clock.now()

    def key(name: bytes, days: float) -> bytes:
        moment = now - timedelta(days=days)
        DataKey.insert(id=name * 16, master_key_id=b"m" * 8, sealed=b"s", created_at=moment, last_seen_at=moment).execute()
        return name * 16

    unused, used, young = key(b"u", 100), key(b"o", 100), key(b"y", 20)
    kept = store_old(installed, 100, 1, "scheduled")[0]
    Message.update(data_key_id=used).where(Message.id == kept).execute()
    gone = store_old(installed, 100, 1, first=5)[0]
    Message.update(data_key_id=unused).where(Message.id == gone).execute()
    DataKey.delete().where(DataKey.id.not_in([unused, used, young])).execute()
    assert cleanup(installed.settings).data_keys == 1
    assert {bytes(row.id) for row in DataKey.select()} == {used, young}
    assert cleanup(installed.settings, 1).data_keys == 1  # young: 20 days old, and nobody names it
    assert {bytes(row.id) for row in DataKey.select()} == {used}


def test_data_keys_are_kept_for_a_week_at_least(installed: Installed) -> None:
    moment = clock.now() - timedelta(days=5)
    DataKey.insert(id=b"k" * 16, master_key_id=b"m" * 8, sealed=b"s", created_at=moment, last_seen_at=moment).execute()
    assert cleanup(installed.settings, 1).data_keys == 0
