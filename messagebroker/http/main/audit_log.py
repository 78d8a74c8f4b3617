"""GET /api/v1/audit: who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import audit, cursors
from messagebroker.ops.permissions import Permission


class AuditQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole log in its order; no filter has an index."""

    order: Literal["desc", "asc"] = "desc"
    limit: Limit = 50
    cursor: Cursor | None = None


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
            after = None if query.cursor is None else cursors.read_number(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        found = audit.page(limit=query.limit + 1, newest_first=query.order == "desc", after=after)
        items = [msgspec.convert(entry, AuditView, from_attributes=True) for entry in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, AuditPage(items=items, next=cursors.of_number(items[-1].id) if more else None))
