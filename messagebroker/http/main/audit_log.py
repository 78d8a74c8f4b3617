"""GET /api/v1/audit and /api/v1/audit/export: who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import audit, audit_export, cursors
from messagebroker.ops.permissions import Permission

_WORD = r"^[A-Za-z0-9._:-]+$(?!\n)"
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class AuditFilters(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One of actor, action, and object_type with object_id; each with since and until. Others are a 400 that says so."""

    actor: Annotated[str, msgspec.Meta(min_length=1, max_length=254)] | None = None
    action: Annotated[str, msgspec.Meta(max_length=64, pattern=_WORD)] | None = None
    object_type: Annotated[str, msgspec.Meta(max_length=32, pattern=_WORD)] | None = None
    object_id: Annotated[str, msgspec.Meta(min_length=1, max_length=254)] | None = None
    since: _Instant | None = None
    until: _Instant | None = None


class AuditQuery(AuditFilters, forbid_unknown_fields=True, kw_only=True):
    """In the order of time."""

    order: Literal["desc", "asc"] = "desc"
    limit: Limit = 50
    cursor: Cursor | None = None


class ExportQuery(AuditFilters, forbid_unknown_fields=True, kw_only=True):
    """Everything that fits, oldest first."""

    format: audit_export.Format = "csv"


class AuditView(msgspec.Struct, kw_only=True):
    """One row."""

    id: int
    created_at: datetime
    actor: str
    action: str
    object_type: str
    object_id: str
    address: str | None
    user_agent: str | None
    details: dict[str, Any] | None


class AuditPage(msgspec.Struct, kw_only=True):
    """Part of the log. `next` is the `cursor` of the following part; null: there is none."""

    items: list[AuditView]
    next: str | None


class AuditLog:
    """Newest first unless asked otherwise."""

    rights: ClassVar = {"GET": Right(permission=Permission.AUDIT_READ)}
    operations: ClassVar = (
        Operation(
            "GET",
            "/api/v1/audit",
            "The audit log",
            responses={200: AuditPage},
            query=AuditQuery,
            security=TOKEN,
            tag="operations",
        ),
    )

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, AuditQuery)
        try:
            after = None if query.cursor is None else cursors.read_moment(query.cursor)
            found = audit.page(limit=query.limit + 1, newest_first=query.order == "desc", after=after, filters=_filters(query))
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        except audit.Unindexed as error:
            raise Problem(400, "filter-not-indexed", str(error)) from None
        items = [msgspec.convert(entry, AuditView, from_attributes=True) for entry in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, AuditPage(items=items, next=cursors.of_moment(items[-1].created_at, items[-1].id) if more else None))


class AuditExport:
    """The log as a file, as long as it is. It is sent while it is read; one that ends early was cut off by an error."""

    rights: ClassVar = {"GET": Right(permission=Permission.AUDIT_READ)}
    operations: ClassVar = (
        Operation(
            "GET",
            "/api/v1/audit/export",
            "The audit log as CSV or JSON lines",
            responses={200: bytes},
            query=ExportQuery,
            security=TOKEN,
            media=tuple(audit_export.MEDIA.values()),
            tag="operations",
        ),
    )

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A file."""
        query = read_query(request, ExportQuery)
        try:
            pieces = audit_export.export(_filters(query), query.format, request.context.caller.actor)
        except audit.Unindexed as error:
            raise Problem(400, "filter-not-indexed", str(error)) from None
        response.content_type = audit_export.MEDIA[query.format]
        response.set_header("Content-Disposition", f'attachment; filename="audit.{query.format}"')
        response.set_header("Cache-Control", "no-store")
        response.stream = pieces


def _filters(query: AuditFilters) -> audit.Filters:
    return audit.Filters(**{name: getattr(query, name) for name in AuditFilters.__struct_fields__})
