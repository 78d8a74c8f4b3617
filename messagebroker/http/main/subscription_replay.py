"""/api/v1/subscriptions/{subscription_id}/replay: what was never for it. For operators."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import falcon
import msgspec

from messagebroker.errors import Conflict
from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.people import number
from messagebroker.http.main.subscription_views import ACT, IDS, ONE, WhichTime
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops.deliveries.routing import router_of
from messagebroker.ops.replaying import SECONDS, Replay
from messagebroker.settings import Settings


class ReplayAnswer(msgspec.Struct, kw_only=True):
    """`found`: messages that it wants and never had, about 50,000 at most. `replayed`: due for it now. `next_since`: ask again
    from there for the rest, once these have gone out; null: this was all."""

    found: int
    replayed: int
    next_since: datetime | None
    lasts_seconds: float


class ReplayedSubscription:
    """Its owner may not: what was stored before it was made may be more than what it was meant to get."""

    rights: ClassVar = {"POST": Right(permission=ACT)}
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/replay", "Give a subscription what was never for it", WhichTime,
            {200: ReplayAnswer, 404: None, 409: None, 422: None}, path_types=IDS, security=TOKEN, tag="deliveries",
            description="What was stored before it was made, or while it was disabled. `dry_run` only counts. Messages keep "
            "their ids and times; they become due at the given rate. Nothing that it had comes again: that is `recover`.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._router = router_of(settings)
        self._decoder = msgspec.json.Decoder(WhichTime)

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """How many."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        given.require_order()
        try:
            replay = Replay(self._router, number(subscription_id, "subscription"), rate=given.rate, seconds=SECONDS)
        except Conflict as error:
            raise Problem(409, "not-replayable", str(error)) from None
        done = replay.preview(given.since, given.until) if given.dry_run else replay.run(given.since, given.until, caller.actor)
        answer(response, msgspec.convert(done, ReplayAnswer, from_attributes=True))
