"""/api/v1/webhooks: subscriptions whose channel is `webhook`, how they do, and their attempts."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.main.subscription_views import (
    IDS,
    OWN,
    READ,
    SubscriptionPage,
    SubscriptionView,
    seen,
    view_of,
)
from messagebroker.http.main.subscriptions import page_for
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, webhook_logs, webhooks
from messagebroker.ops.deliveries.opening import Payloads
from messagebroker.ops.permissions import Permission
from messagebroker.ops.subscription_access import owns
from messagebroker.ops.subscriptions import Details
from messagebroker.settings import Settings

PATH = "/api/v1/webhooks"
ONE = PATH + "/{subscription_id}"


class WebhookQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    limit: Limit = 50
    cursor: Cursor | None = None


class AttemptView(msgspec.Struct, kw_only=True):
    """One try, in short."""

    started_at: datetime
    duration_ms: int
    code: int | None
    error: str | None


class WebhookView(SubscriptionView, kw_only=True):
    """A webhook and how it does. Deliveries are counted up to 10,000; `breaker`: its circuit breaker's last change."""

    pending: int
    processing: int
    failed: int
    oldest_due_at: datetime | None
    last_success: AttemptView | None
    last_failure: AttemptView | None
    breaker: str | None
    breaker_since: datetime | None


class LogQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which attempts. `answers`: what receivers said, too; the audit log keeps who asked."""

    outcome: Literal["delivered", "retry", "failed", "gone"] | None = None
    answers: bool = False
    limit: Limit = 50
    cursor: Cursor | None = None


class LogView(AttemptView, kw_only=True):
    """One try. `request`: the headers that were sent, secrets masked; `asked_by`: who had it sent again."""

    id: int
    message_id: str
    number: int
    outcome: str
    request: dict[str, str] | None
    answer: str | None
    asked_by: str | None


class LogPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[LogView]
    next: str | None


class Webhooks:
    """In the order in which they were made."""

    rights: ClassVar = {"GET": Right(permission=READ, own=OWN)}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "Webhooks", responses={200: SubscriptionPage}, query=WebhookQuery, security=TOKEN, tag="deliveries",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, WebhookQuery)
        answer(response, page_for(request, channel=webhooks.CHANNEL, limit=query.limit, cursor=query.cursor))


class OneWebhook:
    """What waits, what failed, and when it last worked."""

    rights: ClassVar = {"GET": Right(permission=READ, own=OWN)}
    operations: ClassVar = (
        Operation(
            "GET", ONE, "How a webhook does", responses={200: WebhookView, 404: None}, path_types=IDS, security=TOKEN,
            tag="deliveries",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """Its state now."""
        details = webhooks.require_webhook(seen(request.context.caller, subscription_id))
        state = msgspec.to_builtins(webhooks.state(details.id), builtin_types=(datetime,))
        shown = msgspec.convert({**msgspec.structs.asdict(view_of(details)), **state}, WebhookView)
        answer(response, shown)


class WebhookLogs:
    """Newest first."""

    rights: ClassVar = {"GET": Right(permission=READ, own=OWN)}
    operations: ClassVar = (
        Operation(
            "GET", ONE + "/logs", "Attempts of a webhook", responses={200: LogPage, 404: None}, query=LogQuery,
            path_types=IDS, security=TOKEN, tag="deliveries",
            description="`answers=true` is for its owner and for those who may open messages.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._payloads = Payloads(settings)

    def on_get(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """A page."""
        caller: Caller = request.context.caller
        query = read_query(request, LogQuery)
        details = webhooks.require_webhook(seen(caller, subscription_id))
        try:
            after = None if query.cursor is None else cursors.read_number(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        found = self._page(caller, details, query, after)
        items = [msgspec.convert(entry, LogView, from_attributes=True) for entry in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, LogPage(items=items, next=cursors.of_number(items[-1].id) if more else None))

    def _page(self, caller: Caller, details: Details, query: LogQuery, after: int | None) -> list[webhook_logs.Entry]:
        limit = query.limit + 1
        if not query.answers:
            return webhook_logs.page(details.id, limit=limit, after=after, outcome=query.outcome)
        assert caller.person is not None
        if not (caller.may(Permission.MESSAGES_OPEN) or owns(caller.person, details)):
            detail = "answers may hold what was sent; they are for its owner and for those who may open messages"
            raise Problem(403, "forbidden", detail, permission=Permission.MESSAGES_OPEN)
        return webhook_logs.page_with_answers(
            self._payloads, caller.actor, details.id, limit=limit, after=after, outcome=query.outcome
        )
