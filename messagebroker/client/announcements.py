"""What people are told for a while."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, nothing, send, under, versioned

ANNOUNCEMENTS = "/api/v1/announcements"


class Announcement(Struct, frozen=True, kw_only=True):
    """Plain text; `created_by` is told to who may manage announcements."""

    id: int
    text: str
    severity: str  # "info", "warning" or "critical"
    starts_at: datetime
    ends_at: datetime
    created_at: datetime | None = None
    created_by: str | None = None
    etag: str | None = None  # for the next change's `if_match`


def page(caller: Caller, *, also_others: bool = False, limit: int = 50, cursor: str | None = None) -> Call[Page[Announcement]]:
    """A part of what is told now; with `also_others` those of the past and to come too."""
    return get(caller, ANNOUNCEMENTS, _PAGE, all=also_others or None, limit=limit, cursor=cursor)


def announce(
    caller: Caller, text: str, ends_at: datetime, *, starts_at: datetime | UnsetType = UNSET, severity: str = "info"
) -> Call[Announcement]:
    """Tells everybody, at once unless `starts_at` says when."""
    given = {"text": text, "ends_at": ends_at, "starts_at": starts_at, "severity": severity}
    return send(caller, "POST", ANNOUNCEMENTS, _ANNOUNCEMENT, given)


def one(caller: Caller, number: int) -> Call[Announcement]:
    """One of them."""
    return get(caller, under(ANNOUNCEMENTS, number), _ANNOUNCEMENT)


def change(
    caller: Caller,
    number: int,
    *,
    text: str | UnsetType = UNSET,
    severity: str | UnsetType = UNSET,
    starts_at: datetime | UnsetType = UNSET,
    ends_at: datetime | UnsetType = UNSET,
    if_match: str | None = None,
) -> Call[Announcement]:
    """What is left out stays."""
    changes = {"text": text, "severity": severity, "starts_at": starts_at, "ends_at": ends_at}
    return send(caller, "PATCH", under(ANNOUNCEMENTS, number), _ANNOUNCEMENT, changes, if_match=if_match)


def remove(caller: Caller, number: int, *, if_match: str | None = None) -> Call[None]:
    """For good."""
    return send(caller, "DELETE", under(ANNOUNCEMENTS, number), nothing, if_match=if_match)


class AnnouncementMethods:
    """Of the clients."""

    announcements = Method(page)
    announce = Method(announce)
    announcement = Method(one)
    change_announcement = Method(change)
    remove_announcement = Method(remove)


_PAGE = reader(Page[Announcement])
_ANNOUNCEMENT = versioned(Announcement)
