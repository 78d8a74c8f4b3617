"""The audit log: search and export."""

from __future__ import annotations

from typing import Literal

import httpx

from messagebroker.client.answers import AuditPage
from messagebroker.client.calls import Call, Param, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, get, under

AUDIT = "/api/v1/audit"


def page(caller: Caller, **filters: Param) -> Call[AuditPage]:
    """A part of the audit log, newest first.

    `actor`, or `action`, or `object_type` with `object_id`; `since`, `until`, `order` (`asc`, `desc`), `limit`, `cursor`.
    """
    return get(caller, AUDIT, _PAGE, **filters)


def export(caller: Caller, form: Literal["csv", "jsonl"] = "csv", **filters: Param) -> Call[bytes]:
    """All rows of these filters as a file, oldest first, in memory: give `since` and `until` when the log is long."""
    return get(caller, under(AUDIT, "export"), _content, format=form, **filters)


def _content(response: httpx.Response) -> bytes:
    return response.content


class AuditMethods:
    """Of the clients."""

    audit = Method(page)
    export_audit = Method(export)


_PAGE = reader(AuditPage)
