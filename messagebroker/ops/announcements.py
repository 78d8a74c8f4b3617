"""What people are told for a while: maintenance to come, an outage, news. Plain text, shown as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from messagebroker.db.connection import connected, database, is_mysql
from messagebroker.db.models import Announcement
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import audit, clock
from messagebroker.ops.audit import Actor

Check = Callable[[Announcement], None]


class NeverShown(Refused):
    """It would end before it begins."""


def create(text: str, severity: str, starts_at: datetime, ends_at: datetime, *, actor: Actor) -> Announcement:
    """A new announcement.

    Raises:
        NeverShown: it ends before it begins.
    """
    _check(starts_at, ends_at)
    values = {"text": text, "severity": severity, "starts_at": starts_at, "ends_at": ends_at}
    with _changing():
        made = Announcement.create(**values, created_by=actor.name.partition(":")[2] or actor.name, created_at=clock.now())
        audit.record_by(actor, "announcement.create", "announcement", str(made.id), {"after": values})
    return find(made.id)


def change(number: int, changes: dict[str, Any], check: Check, *, actor: Actor) -> Announcement:
    """The announcement with some of its members changed; `check` may refuse for what is there now.

    Raises:
        NeverShown: it would end before it begins.
        NotFound: there is none of this number.
    """
    with _changing():
        known = _locked(number, check)
        before = {name: getattr(known, name) for name in changes}
        _check(changes.get("starts_at", known.starts_at), changes.get("ends_at", known.ends_at))
        if changes:
            Announcement.update(**changes).where(Announcement.id == number).execute()
            audit.record_by(actor, "announcement.change", "announcement", str(number), {"before": before, "after": changes})
    return find(number)


def remove(number: int, check: Check, *, actor: Actor) -> None:
    """Takes it away for good; raises as `change` does."""
    with _changing():
        known = _locked(number, check)
        known.delete_instance()
        before = {name: getattr(known, name) for name in ("text", "severity", "starts_at", "ends_at")}
        audit.record_by(actor, "announcement.remove", "announcement", str(number), {"before": before})


@contextmanager
def _changing() -> Iterator[None]:
    """One transaction that nobody changes the row under: SQLite has its write lock from the beginning."""
    with connected(), database.atomic() if is_mysql() else database.atomic("IMMEDIATE"):
        yield


def _locked(number: int, check: Check) -> Announcement:
    query = Announcement.select().where(Announcement.id == number)
    known = (query.for_update() if is_mysql() else query).get_or_none()
    if known is None:
        raise NotFound(f"there is no announcement {number}")
    found: Announcement = known
    check(found)
    return found


def find(number: int) -> Announcement:
    """The announcement.

    Raises:
        NotFound: there is none of this number.
    """
    with connected():
        found = Announcement.get_or_none(Announcement.id == number)
    if found is None:
        raise NotFound(f"there is no announcement {number}")
    return found


def current(limit: int, after: tuple[datetime, int] | None = None) -> list[Announcement]:
    """Those that are shown now, the one that ends first at the top; `after` ends the page before."""
    now, ends, number = clock.now(), Announcement.ends_at, Announcement.id
    query = Announcement.select(number).where(ends > now, Announcement.starts_at <= now)
    if after is not None:  # the first condition alone is the index range; the second passes over what was shown
        query = query.where(ends >= after[0], (ends > after[0]) | (number > after[1]))
    with connected():
        wanted = [row.id for row in query.order_by(ends, number).limit(limit)]  # of an index alone
        return list(Announcement.select().where(number.in_(wanted)).order_by(ends, number)) if wanted else []


def page(limit: int, after: int | None = None) -> list[Announcement]:
    """Also those of the past and to come, newest first; `after` ends the page before."""
    query = Announcement.select()
    if after is not None:
        query = query.where(Announcement.id < after)
    with connected():
        return list(query.order_by(Announcement.id.desc()).limit(limit))


def _check(starts_at: datetime, ends_at: datetime) -> None:
    if ends_at <= starts_at:
        raise NeverShown("`ends_at` must be after `starts_at`; nobody would ever see it")
