"""An installation without processes: secrets, a CA, an upgraded database with sealed messages in it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import peewee as pw

from messagebroker.db.models import Message
from messagebroker.ops import certificates, clock, ids, keyring, stored_keys
from messagebroker.ops import store as storing
from messagebroker.ops.opening import Opener
from messagebroker.ops.records import Payload, Record, SealedKey, encode_payload
from messagebroker.ops.sealing import Sealer
from messagebroker.settings import Settings, load


def url_of(database: pw.Database) -> str | None:
    """DATABASE_URL of the `database` fixture, None for SQLite in the test's folder."""
    if isinstance(database, pw.SqliteDatabase):
        return None
    return f"mysql+pymysql://systemuser:test@127.0.0.1:{database.connect_params['port']}/{database.database}"


def quiet(folder: Path, **overrides: Any) -> Settings:
    """Settings that no server of this machine disturbs: every port is 0."""
    ports = dict.fromkeys(("main_server_port", "proxy_port", "portal_port", "metrics_port"), 0)
    return load({}, data_dir=folder, environment="test", **(ports | {k: v for k, v in overrides.items() if v}))


class Installed:
    """Secrets and a CA in `folder`, on the database that is open."""

    def __init__(self, folder: Path, **overrides: Any) -> None:
        self.settings = quiet(folder, **overrides)
        recovery_key = keyring.first_secrets(self.settings)
        assert recovery_key
        self.recovery_key = recovery_key
        certificates.init_ca(self.settings)
        self.sealer = Sealer(keyring.KeyRing.load(self.settings).current_public, 300)

    def store(self, count: int, body: str = "a message", **changes: Any) -> list[bytes]:
        """Stores sealed messages; their ids."""
        made = [self._record(f"{body} {number}", changes) for number in range(count)]
        self.store_records([record for record, _ in made], [key for _, key in made])
        return [record.id for record, _ in made]

    def store_records(self, records: list[Record], keys: Iterable[SealedKey]) -> None:
        storing.store(records, {key.id: key for key in keys}, now=clock.now())

    def body_of(self, message_id: bytes) -> str | None:
        """What its client reads."""
        return Opener(self.settings).for_client(message_id, "acme").body

    def _record(self, body: str, changes: dict[str, Any]) -> tuple[Record, SealedKey]:
        message_id = changes.get("id", ids.new())
        sealed, key = self.sealer.seal(message_id, "acme", encode_payload(Payload(body=body)))
        fields: dict[str, Any] = {
            "id": message_id,
            "client": "acme",
            "topic": "orders",
            "priority": 2,
            "accepted_at": clock.micros(clock.now()),
            "size": len(body),
            "data_key_id": key.id,
            "sealed": sealed,
        }
        return Record(**(fields | changes)), key


def forget_written_keys() -> None:
    """What a worker remembers of a database that was replaced (its process would have been stopped)."""
    with suppress(AttributeError):
        stored_keys._known.clear()


def count() -> int:
    return int(Message.select().count())
