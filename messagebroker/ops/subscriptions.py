"""Who gets which messages, by which channel: making, changing and ending subscriptions. Workers see it within a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import User
from messagebroker.errors import NotFound
from messagebroker.ops import audit, clock, subscription_secrets
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change as transaction
from messagebroker.ops.changes import locked
from messagebroker.ops.channels import Entry
from messagebroker.ops.fields import WrongField
from messagebroker.ops.keyring import KeyRing
from messagebroker.ops.subscription_access import sees
from messagebroker.ops.subscription_fields import (
    FIELDS,
    checked,
    config_of,
    entry_of,
    filter_of,
    merged,
    read,
    schedule_of,
    topics_of,
)
from messagebroker.settings import Settings

Subscription: Any = models.Subscription  # the stubs of peewee know no columns


@dataclass(frozen=True, kw_only=True)
class Details:
    """A subscription, but for its secrets."""

    id: int
    name: str
    channel: str
    topics: list[str]
    filter: dict[str, Any] | None
    owner: str | None
    group_id: int | None
    client: str | None
    config: dict[str, Any]
    has_secrets: bool
    schedule: list[float] | None
    ordered_by: str | None
    created_at: datetime
    changed_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    failures: int
    failing_since: datetime | None


@dataclass(frozen=True, kw_only=True)
class Made:
    """A new subscription, and the signing secret that was drawn for it: this is the only time that it is shown."""

    details: Details
    signing_secret: str | None


_LONGEST_AUDITED = 6000  # bytes of one field

Check = Callable[[Details], None]
"""Looks at a subscription before it is changed, with its row locked; raises when it should not be."""


def create(settings: Settings, fields: Mapping[str, Any], actor: Actor) -> Made:
    """A new subscription, which gets messages that are stored from about a second later on.

    Raises:
        WrongField: a field is missing or will not do.
    """
    entry = entry_of(fields.get("channel"))
    with transaction():
        columns = checked(entry, fields)
        given = read(entry, "secrets", fields["secrets"]) if fields.get("secrets") is not None else None
        now = clock.now()
        row = Subscription.create(channel=entry.name, created_at=now, changed_at=now, **columns)
        shown = _seal_first(settings, entry, row.id, given)
        details = find(row.id)
        audit.record_by(actor, "subscription.create", "subscription", str(row.id), _plain(details, FIELDS))
    return Made(details=details, signing_secret=shown)


def _seal_first(settings: Settings, entry: Entry, number: int, given: Any) -> str | None:
    """Seals what was given and what the system draws; the drawn signing secret."""
    if entry.secrets is None:
        return None
    given = entry.secrets() if given is None else given
    whole = given if entry.complete is None else entry.complete(given)
    _store_secrets(settings, number, whole)
    return None if whole == given else str(whole.signing[0].secret)


def find(number: int, *, only_of: User | None = None) -> Details:
    """One subscription.

    Raises:
        NotFound: there is none, or none that this person may see.
    """
    with connected():
        return details_of(row_of(number, only_of=only_of))


def row_of(number: int, *, only_of: User | None = None) -> Any:
    """The row; the same errors as `find`, whatever the reason. For callers with a connection."""
    row = Subscription.get_or_none(Subscription.id == number, Subscription.removed_at.is_null())
    if row is None or (only_of is not None and not sees(only_of, row)):
        raise NotFound(f"there is no subscription {number}")
    return row


def secrets_of(settings: Settings, row: Any) -> Any:
    """What is secret of it, opened; raises Damaged."""
    return subscription_secrets.opened(row, KeyRing.load(settings))


def change(settings: Settings, number: int, fields: Mapping[str, Any], actor: Actor, *, check: Check | None = None) -> Details:
    """Sets some fields; the others stay, and so do members of `config` and `secrets` that are not given.

    Raises:
        NotFound: there is no such subscription.
        WrongField: a value will not do.
    """
    with transaction():
        row, before = lock(number, check)
        entry = entry_of(row.channel)
        columns = checked(entry, fields, row)
        if fields.get("secrets") is not None:
            known = secrets_of(settings, row) if entry.secrets is not None else None
            whole = read(entry, "secrets", merged(known, fields["secrets"], "secrets"))
            if entry.complete is not None and entry.complete(whole) != whole:
                raise WrongField("secrets.signing", "stays, or is given; `rotate-secret` draws a new one")
            _store_secrets(settings, number, whole)
        if columns:
            Subscription.update(**columns).where(Subscription.id == number).execute()
        after = find(number)
        changed = [field for field in FIELDS if field != "secrets" and getattr(before, field) != getattr(after, field)]
        details: dict[str, Any] = {"before": _plain(before, changed), "after": _plain(after, changed)}
        if fields.get("secrets") is not None:
            details["secrets"] = sorted(fields["secrets"])
        if not changed and "secrets" not in details:
            return before
        touch(number)
        audit.record_by(actor, "subscription.change", "subscription", str(number), details)
        return find(number)


def lock(number: int, check: Check | None = None) -> tuple[Any, Details]:
    """The row, which nobody else changes until the transaction ends, and what it says.

    Raises:
        NotFound: there is no such subscription; or what `check` raises.
    """
    row = locked(Subscription.select().where(Subscription.id == number, Subscription.removed_at.is_null())).first()
    before = details_of(row or row_of(number))
    if check is not None:
        check(before)
    return row, before


def touch(number: int) -> None:
    """Workers read it again."""
    Subscription.update(changed_at=clock.now()).where(Subscription.id == number).execute()


def rewrite_secrets(settings: Settings, number: int, secrets: msgspec.Struct) -> None:
    """Seals other secrets for a locked row."""
    _store_secrets(settings, number, secrets)
    touch(number)


def disable(number: int, actor: Actor, *, why: str | None = None, check: Check | None = None) -> Details:
    """Stops it, also repeatedly: what becomes due meanwhile is a dead letter, and what is stored meanwhile is not for it.

    Raises:
        NotFound: there is no such subscription.
    """
    with transaction():
        _, before = lock(number, check)
        if before.disabled_at is not None:
            return before
        now, reason = clock.now(), (why or f"by {actor.name}")[:500]
        Subscription.update(disabled_at=now, disabled_why=reason, changed_at=now).where(Subscription.id == number).execute()
        audit.record_by(actor, "subscription.disable", "subscription", str(number), {"why": reason})
        return find(number)


def enable(number: int, actor: Actor, *, check: Check | None = None) -> Details:
    """Lets it go on, with its failures forgotten. May be repeated.

    Raises:
        NotFound: there is no such subscription.
    """
    fresh = {"disabled_at": None, "disabled_why": None, "failures": 0, "failing_since": None, "warned": 0}
    with transaction():
        _, before = lock(number, check)
        if before.disabled_at is None:
            return before
        Subscription.update(**fresh, changed_at=clock.now()).where(Subscription.id == number).execute()
        audit.record_by(actor, "subscription.enable", "subscription", str(number), {"was disabled": before.disabled_why})
        return find(number)


def details_of(row: Any) -> Details:
    """A row, read."""
    as_it_is = (
        "id", "name", "channel", "owner", "group_id", "client", "ordered_by", "created_at", "changed_at", "disabled_at",
        "disabled_why", "failures", "failing_since",
    )  # fmt: skip
    chosen = filter_of(row)
    return Details(
        **{name: getattr(row, name) for name in as_it_is},
        topics=topics_of(row),
        filter=None if chosen is None else msgspec.to_builtins(chosen),
        config=msgspec.to_builtins(config_of(row)),
        has_secrets=row.secrets is not None,
        schedule=schedule_of(row),
    )


def _store_secrets(settings: Settings, number: int, secrets: msgspec.Struct) -> None:
    columns = subscription_secrets.sealed(KeyRing.load(settings), number, secrets)
    Subscription.update(**columns).where(Subscription.id == number).execute()


def _plain(details: Details, fields: Any) -> dict[str, Any]:
    """For the audit log, which holds two of them in a row of 64 KiB: what is long is told by its hash."""
    whole = asdict(details)
    return {field: _short(whole[field]) for field in fields if field in whole}


def _short(value: Any) -> Any:
    text = msgspec.json.encode(value)
    return value if len(text) <= _LONGEST_AUDITED else f"{len(text):,} bytes of JSON, SHA-256 {sha256(text).hexdigest()}"
