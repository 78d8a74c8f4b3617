"""Registered senders: listing, registering and changing them. What is changed is published to the proxies at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import peewee as pw

from messagebroker.db.connection import database
from messagebroker.db.models import Certificate, Client, User
from messagebroker.errors import Conflict, NotFound
from messagebroker.ops import audit, clock, policy, registry
from messagebroker.ops.audit import Actor
from messagebroker.ops.client_access import ranges_of, sees
from messagebroker.ops.client_fields import FIELDS, checked, topics_of
from messagebroker.ops.names import is_name
from messagebroker.ops.signing import check_holder
from messagebroker.settings import Settings


class Unindexed(Exception):
    """These filters together have no index."""


@dataclass(frozen=True, kw_only=True)
class ClientEntry:
    """A client, and when its newest certificate that is not revoked ends."""

    name: str
    owner: str | None
    group_id: int | None
    default_topic: str
    topics: list[str] | None
    rate: int | None
    max_batch: int | None
    created_at: datetime
    disabled_at: datetime | None
    certificate_ends: datetime | None


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A client as it is now; the number of the policy that says so, or why the proxies do not know it yet."""

    client: ClientEntry
    policy_number: int | None
    note: str | None


Check = Callable[[ClientEntry], None]
"""Looks at a client before it is changed, with its row locked; raises when it should not be."""


def page(
    settings: Settings,
    *,
    limit: int,
    after: str | None = None,
    owner: str | None = None,
    group_id: int | None = None,
    only_of: User | None = None,
) -> list[ClientEntry]:
    """Up to `limit` clients by name, those that come after `after`.

    Args:
        settings: for the database.
        limit: how many.
        after: a name.
        owner: only those of this address.
        group_id: only those of this group.
        only_of: only those that this person may see; together with neither filter.

    Raises:
        Unindexed: both filters at once.
    """
    if owner is not None and group_id is not None:
        raise Unindexed("owner and group_id together have no index; give one of them")
    with registry.session(settings):
        if only_of is not None:
            ranges = ranges_of(only_of)
        else:
            ranges = [Client.owner == owner if owner is not None else None]
            ranges = [Client.group == group_id] if group_id is not None else ranges
        found = {row.name: row for one in ranges for row in _range(one, limit, after)}
        rows = [found[name] for name in sorted(found)[:limit]]
        ends = _certificate_ends([row.name for row in rows])
    return [_entry(row, ends.get(row.name)) for row in rows]


def find(settings: Settings, name: str, *, only_of: User | None = None) -> ClientEntry:
    """One client.

    Raises:
        NotFound: there is none of that name, or it is none that this person may see.
    """
    with registry.session(settings):
        return _whole(row_of(name, only_of=only_of))


def row_of(name: str, *, only_of: User | None = None) -> Client:
    """The row; the same errors as `find`, whatever the reason."""
    row = Client.get_or_none(Client.name == name) if is_name(name) else None  # other letters are an error on MySQL
    if row is None or row.name != name or (only_of is not None and not sees(only_of, row)):
        raise _absent(name)
    return row


def register(settings: Settings, name: str, fields: Mapping[str, Any], actor: Actor) -> Changed:
    """A new client, without a certificate yet.

    Raises:
        Refused: the name is malformed, a component's or reserved.
        WrongField: another field will not do.
        Conflict: there is such a client.
    """
    check_holder("client", name)
    with _change(settings):
        columns = checked(fields)
        try:
            with database.atomic():
                Client.insert(name=name, created_at=clock.now(), **columns).execute()
        except pw.IntegrityError as error:
            raise Conflict(f"there is a client {name} already") from error
        entry = _whole(row_of(name))
        audit.record_by(actor, "client.register", "client", name, _plain(entry, FIELDS))
    return _published(settings, entry)


def change(settings: Settings, name: str, fields: Mapping[str, Any], actor: Actor, *, check: Check | None = None) -> Changed:
    """Sets some fields; the others stay.

    Raises:
        NotFound: there is no such client.
        WrongField: a value will not do.
    """
    with _change(settings):
        before = _locked(name, check)
        columns = checked(fields, Client.get_by_id(name))
        if columns:
            Client.update(**columns).where(Client.name == name).execute()
        entry = _whole(row_of(name))
        changed = [field for field in FIELDS if getattr(before, field) != getattr(entry, field)]
        if changed:
            details = {"before": _plain(before, changed), "after": _plain(entry, changed)}
            audit.record_by(actor, "client.change", "client", name, details)
    return _published(settings, entry)


def disable(settings: Settings, name: str, actor: Actor, *, check: Check | None = None) -> Changed:
    """Shuts a client out until it is enabled again; its certificates stay as they are. May be repeated.

    Raises:
        NotFound: there is no such client.
    """
    return _switched(settings, name, actor, check, disabled=True)


def enable(settings: Settings, name: str, actor: Actor, *, check: Check | None = None) -> Changed:
    """Lets a disabled client in again. May be repeated.

    Raises:
        NotFound: there is no such client.
    """
    return _switched(settings, name, actor, check, disabled=False)


def _switched(settings: Settings, name: str, actor: Actor, check: Check | None, *, disabled: bool) -> Changed:
    with _change(settings):
        before = _locked(name, check)
        if (before.disabled_at is not None) != disabled:
            Client.update(disabled_at=clock.now() if disabled else None).where(Client.name == name).execute()
            audit.record_by(actor, "client.disable" if disabled else "client.enable", "client", name)
        entry = _whole(row_of(name))
    return _published(settings, entry)


def _absent(name: str) -> NotFound:
    return NotFound(f"there is no client {name[:63]!r}")


@contextmanager
def _change(settings: Settings) -> Iterator[None]:
    """A change and its audit row: both or neither."""
    with registry.session(settings), database.atomic():
        yield


def _locked(name: str, check: Check | None) -> ClientEntry:
    """The client with its row locked until the transaction ends; an update that changes nothing locks on SQLite too."""
    if not is_name(name):
        raise _absent(name)
    Client.update(name=Client.name).where(Client.name == name).execute()
    entry = _whole(row_of(name))
    if check is not None:
        check(entry)
    return entry


def _published(settings: Settings, entry: ClientEntry) -> Changed:
    told = policy.tell(settings)
    return Changed(client=entry, policy_number=told.number, note=told.note)


def _range(condition: Any, limit: int, after: str | None) -> list[Client]:
    names = [row[0] for row in names_in(condition, limit, after).tuples()]
    return list(Client.select().where(Client.name.in_(names))) if names else []


def names_in(condition: Any, limit: int, after: str | None) -> Any:
    """The names of one range, in their order: of an index alone, which MySQL would leave for a sort if it needed the rows."""
    query = Client.select(Client.name).order_by(Client.name).limit(limit)
    if condition is not None:
        query = query.where(condition)
    return query if after is None else query.where(Client.name > after)


def _whole(row: Client) -> ClientEntry:
    return _entry(row, _certificate_ends([row.name]).get(row.name))


def _certificate_ends(names: list[str]) -> dict[str, datetime]:
    newest = pw.fn.MAX(Certificate.not_after).converter(Certificate.not_after.python_value)
    query = (
        Certificate.select(Certificate.name, newest.alias("ends"))
        .where(Certificate.name.in_(names) & (Certificate.kind == "client") & Certificate.revoked_at.is_null())
        .group_by(Certificate.name)
    )
    rows: Any = query.tuples()
    return dict(rows) if names else {}


def _entry(row: Client, ends: datetime | None) -> ClientEntry:
    plain = {field: getattr(row, field) for field in ("name", "owner", "default_topic", "rate", "max_batch", "created_at")}
    return ClientEntry(
        **plain, group_id=row.group_id, topics=topics_of(row), disabled_at=row.disabled_at, certificate_ends=ends
    )


def _plain(entry: ClientEntry, fields: Any) -> dict[str, Any]:
    whole = asdict(entry)
    return {field: whole[field] for field in fields}
