"""/api/v1/announcements: what everybody reads on every page of the portal for a while."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import falcon
import msgspec
from msgspec import UNSET, Meta, UnsetType

from messagebroker.db.models import Announcement
from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.etags import DESCRIBED, require_match, set_etag
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import announcements, clock, cursors
from messagebroker.ops.permissions import Permission

PATH = "/api/v1/announcements"
ONE = PATH + "/{number}"
Severity = Literal["info", "warning", "critical"]
Text = Annotated[str, Meta(min_length=1, max_length=2000)]
Instant = Annotated[datetime, Meta(tz=True)]
Number = Annotated[str, Meta(pattern="^[1-9][0-9]{0,17}$")]
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


class AnnouncementQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`all`: also those of the past and to come, for who may manage them."""

    all: bool = False
    limit: Limit = 50
    cursor: Cursor | None = None


class NewAnnouncement(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Plain text. Without `starts_at` it is shown at once."""

    text: Text
    ends_at: Instant
    starts_at: Instant | None = None
    severity: Severity = "info"


class AnnouncementChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays."""

    text: Text | UnsetType = UNSET
    severity: Severity | UnsetType = UNSET
    starts_at: Instant | UnsetType = UNSET
    ends_at: Instant | UnsetType = UNSET


class AnnouncementView(msgspec.Struct, kw_only=True):
    """`created_by` is told to those who may manage announcements."""

    id: int
    text: str
    severity: str
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    created_by: str | None


class AnnouncementPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[AnnouncementView]
    next: str | None


class IfMatch(msgspec.Struct, rename={"if_match": "If-Match"}):
    """The `ETag` of what was read: 412 when somebody has changed it since."""

    if_match: str | None = None


class Announcements:
    """Those that are shown now, in the order in which they end; all of them, newest first."""

    rights: ClassVar = {"GET": Right(signed_in=True), "POST": Right(permission=Permission.ANNOUNCEMENTS_MANAGE)}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "What people are told now", responses={200: AnnouncementPage}, query=AnnouncementQuery,
            security=TOKEN, tag="announcements",
        ),
        Operation(
            "POST", PATH, "Announce something", NewAnnouncement, {201: AnnouncementView}, security=TOKEN, tag="announcements",
            response_headers={201: {"Location": "Its path.", **DESCRIBED}},
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(NewAnnouncement)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, AnnouncementQuery)
        caller: Caller = request.context.caller
        manages = _manages(caller)
        if query.all and not manages:
            detail = "`all` is for who may manage announcements; without it you see the present ones"
            raise Problem(403, "forbidden", detail, permission=Permission.ANNOUNCEMENTS_MANAGE)
        try:
            if query.all:
                number = None if query.cursor is None else cursors.read_number(query.cursor)
                found = announcements.page(query.limit + 1, number)
            else:
                found = announcements.current(query.limit + 1, None if query.cursor is None else _read(query.cursor))
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        listed = found[: query.limit]
        following = None
        if len(found) > query.limit:
            following = cursors.of_number(listed[-1].id) if query.all else _cursor(listed[-1])
        items = [view(announcement, manages=manages) for announcement in listed]
        answer(response, AnnouncementPage(items=items, next=following))

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """201 with the announcement."""
        given = read_json(request, self._decoder)
        starts_at = clock.now() if given.starts_at is None else given.starts_at
        _check({"text": given.text, "starts_at": starts_at, "ends_at": given.ends_at})
        caller: Caller = request.context.caller
        try:
            made = announcements.create(given.text, given.severity, starts_at, given.ends_at, actor=caller.actor)
        except announcements.NeverShown as error:
            raise Problem(422, "invalid-field", str(error), field="ends_at") from None
        response.set_header("Location", f"{PATH}/{made.id}")
        _answer(response, made, status=201)


class OneAnnouncement:
    """For those who manage them."""

    rights: ClassVar = dict.fromkeys(("GET", "PATCH", "DELETE"), Right(permission=Permission.ANNOUNCEMENTS_MANAGE))
    operations: ClassVar = (
        Operation(
            "GET", ONE, "One announcement", responses={200: AnnouncementView, 404: None}, path_types={"number": Number},
            security=TOKEN, tag="announcements", response_headers={200: DESCRIBED},
        ),
        Operation(
            "PATCH", ONE, "Change it", AnnouncementChange, {200: AnnouncementView, 404: None, 412: None}, headers=IfMatch,
            path_types={"number": Number}, security=TOKEN, tag="announcements", response_headers={200: DESCRIBED},
        ),
        Operation(
            "DELETE", ONE, "Remove it", responses={204: None, 404: None, 412: None}, headers=IfMatch,
            path_types={"number": Number}, security=TOKEN, tag="announcements",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(AnnouncementChange)

    def on_get(self, request: falcon.Request, response: falcon.Response, number: str) -> None:
        """Whether it is shown now or not."""
        _answer(response, announcements.find(_number(number)))

    def on_patch(self, request: falcon.Request, response: falcon.Response, number: str) -> None:
        """The announcement as it is then."""
        known = _number(number)
        given = read_json(request, self._decoder)
        changes: dict[str, Any] = {
            name: getattr(given, name) for name in given.__struct_fields__ if getattr(given, name) is not UNSET
        }
        _check(changes)
        try:
            changed = announcements.change(known, changes, _unchanged(request), actor=request.context.caller.actor)
        except announcements.NeverShown as error:
            raise Problem(422, "invalid-field", str(error), field="ends_at") from None
        _answer(response, changed)

    def on_delete(self, request: falcon.Request, response: falcon.Response, number: str) -> None:
        """204; nobody sees it any more."""
        announcements.remove(_number(number), _unchanged(request), actor=request.context.caller.actor)
        response.status = 204


def view(row: Announcement, *, manages: bool = True) -> AnnouncementView:
    """As readers see it."""
    made = msgspec.convert(row, AnnouncementView, from_attributes=True)
    return made if manages else msgspec.structs.replace(made, created_by=None)


def _answer(response: falcon.Response, row: Announcement, *, status: int = 200) -> None:
    shown = view(row)
    set_etag(response, shown)
    answer(response, shown, status=status)


def _unchanged(request: falcon.Request) -> Callable[[Announcement], None]:
    return lambda row: require_match(request, view(row))


def _manages(caller: Caller) -> bool:
    return caller.may(Permission.ANNOUNCEMENTS_MANAGE) and caller.person is not None and not caller.person.must_change_password


def _check(given: dict[str, Any]) -> None:
    for name in ("starts_at", "ends_at"):
        if name in given and not _FIRST <= given[name] < _LAST:
            raise Problem(422, "invalid-field", "a time between the years 2000 and 3000", field=name)
    text = given.get("text", "x")
    if not text.strip() or not all(sign.isprintable() or sign in "\n\t" for sign in text):
        raise Problem(422, "invalid-field", "text that can be read: no control characters but line ends", field="text")


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 18 and text[0] != "0":
        return int(text)
    raise Problem(404, "not-found", "an announcement has a number such as 7")


def _cursor(last: Announcement) -> str:
    return cursors.of_due(last.ends_at, last.id.to_bytes(16, "big"))


def _read(cursor: str) -> tuple[datetime, int]:
    ends_at, number = cursors.read_due(cursor)
    if number[:8] != bytes(8) or number[8] >= 0x80:
        raise cursors.WrongCursor("this cursor belongs to another list; take the `next` of the page before")
    return ends_at, int.from_bytes(number, "big")
