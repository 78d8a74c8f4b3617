"""Messages in queues: in Redis as a proxy puts them there, in the tables as a worker does."""

from __future__ import annotations

from typing import Any

import peewee as pw
import redis as redis_py
from support.records import KEYS
from support.subscribing import Office

from messagebroker.actors import ingest
from messagebroker.db.models import AuditEntry, Delivery, Message
from messagebroker.ops.due import database_now
from messagebroker.ops.records import Record
from messagebroker.ops.store import store


def enqueue(client: redis_py.Redis, many: list[Record]) -> None:
    pipe = client.pipeline()
    ingest.add_calls(pipe, many, KEYS)
    pipe.execute()


def put(office: Office, count: int = 1, **changes: Any) -> list[Record]:
    """Stored, with deliveries for who subscribed."""
    made = [office.record(**changes) for _ in range(count)]
    office.subscriptions.refresh(older_than=0)
    store(made, office.keys, now=database_now(), router=office.router)
    return made


def status(made: Record) -> str:
    return str(Message.get_by_id(made.id).status)


def statuses() -> dict[str, int]:
    """Of all deliveries."""
    rows: Any = Delivery.select(Delivery.status, pw.fn.COUNT(pw.SQL("*"))).group_by(Delivery.status).tuples()
    return dict(rows)


def audited(action: str) -> list[AuditEntry]:
    return list(AuditEntry.select().where(AuditEntry.action == action))
