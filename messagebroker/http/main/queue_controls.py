"""POST /api/v1/queue/{queue}/pause, /resume and /purge, /api/v1/queue/reset-stuck: an operator's hand on the queues."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

import falcon
import msgspec
import redis as redis_py

from messagebroker.errors import Refused
from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Right
from messagebroker.http.main.queue_stats import PauseView
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import pausing, purging, stuck
from messagebroker.ops.permissions import Permission
from messagebroker.ops.queues import QUEUES
from messagebroker.ops.redis_client import unavailable

ONE = "/api/v1/queue/{queue}"
QueueName = Literal["critical", "high", "normal", "low", "ops"]
assert QueueName.__args__ == QUEUES  # type: ignore[attr-defined]

Reason = Annotated[str, msgspec.Meta(max_length=pausing.LONGEST_REASON)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
MANAGE = {"POST": Right(permission=Permission.QUEUES_MANAGE)}


class PauseOrder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`reason`: for who finds the queue paused."""

    reason: Reason = ""


class QueueControlView(msgspec.Struct, kw_only=True):
    """A queue; `paused` null: it runs. `changed`: whether this call did that."""

    queue: str
    paused: PauseView | None
    changed: bool


class PurgeOrder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`dry_run` counts. Otherwise `confirm` is the queue's name and `reason` is not empty.

    `before`: messages that were accepted from then on are left alone; null: from now on. Give the answer's with the next
    call when that says that something is left.
    """

    dry_run: bool = False
    confirm: str | None = None
    reason: Reason = ""
    before: Instant | None = None


class PurgeAnswer(msgspec.Struct, kw_only=True):
    """`cancelled` deliveries, `left` to be cancelled; `unstored` messages are in Redis: they stay, and are delivered."""

    queue: str
    before: datetime
    cancelled: int
    left: int
    unstored: int


class StuckOrder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`older_than`: seconds since a delivery was taken. `dry_run` counts."""

    older_than: Annotated[int, msgspec.Meta(ge=int(stuck.LEAST.total_seconds()), le=366 * 86_400)] = 3600
    dry_run: bool = False


class StuckAnswer(msgspec.Struct, kw_only=True):
    """`deliveries` by queue: pending again; `messages`: their deliveries had ended. With `dry_run` they would be."""

    dry_run: bool
    deliveries: dict[str, int]
    messages: int
    oldest_seconds: float


class PausedQueue:
    """Accepted messages wait in Redis meanwhile, stored ones in the database."""

    rights: ClassVar = MANAGE
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/pause", "Pause a queue", PauseOrder, {200: QueueControlView, 404: None},
            path_types={"queue": QueueName}, security=TOKEN, tag="queues",
            description="Workers begin nothing new of it within about a second; what is under way comes to its end.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(PauseOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response, queue: str) -> None:
        """The queue as it is then."""
        given = read_json(request, self._decoder)
        before = pausing.pauses().get(queue)
        found = pausing.pause(queue, given.reason, request.context.caller.actor)
        view = msgspec.convert(found, PauseView, from_attributes=True)
        answer(response, QueueControlView(queue=queue, paused=view, changed=before is None))


class ResumedQueue:
    """Whoever paused it."""

    rights: ClassVar = MANAGE
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/resume", "Resume a queue", responses={200: QueueControlView, 404: None},
            path_types={"queue": QueueName}, security=TOKEN, tag="queues", description="The request has no body.",
        ),
    )  # fmt: skip

    def on_post(self, request: falcon.Request, response: falcon.Response, queue: str) -> None:
        """The queue as it is then."""
        changed = pausing.resume(queue, request.context.caller.actor)
        answer(response, QueueControlView(queue=queue, paused=None, changed=changed))


class PurgedQueue:
    """Cancels what waits for delivery."""

    rights: ClassVar = MANAGE
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/purge", "Purge a queue", PurgeOrder, {200: PurgeAnswer, 404: None, 422: None},
            path_types={"queue": QueueName}, security=TOKEN, tag="queues",
            description="Pending deliveries are cancelled, for good, those of scheduled messages and between two attempts "
            "too. Accepted messages that are not stored yet are never dropped. One call works for up to ten seconds.",
        ),
    )  # fmt: skip

    def __init__(self, redis: redis_py.Redis) -> None:
        self._redis = redis
        self._decoder = msgspec.json.Decoder(PurgeOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response, queue: str) -> None:
        """What was cancelled, and what is left."""
        given = read_json(request, self._decoder)
        if not given.dry_run and given.confirm != pausing.known(queue):
            raise Problem(422, "invalid-field", f"confirm with the queue's name, {queue}", field="confirm")
        try:
            found = self._found(queue, given, request)
        except Refused as error:
            raise Problem(422, "invalid-field", str(error)) from None
        except redis_py.RedisError as error:
            raise unavailable(self._redis, error) from error
        answer(response, msgspec.convert(found, PurgeAnswer, from_attributes=True))

    def _found(self, queue: str, given: PurgeOrder, request: falcon.Request) -> purging.Purge:
        if given.dry_run:
            return purging.preview(self._redis, queue, given.before)
        actor = request.context.caller.actor
        return purging.purge(self._redis, queue, reason=given.reason, before=given.before, actor=actor)


class ResetStuck:
    """What workers do by themselves within seconds, for when they do not."""

    rights: ClassVar = MANAGE
    operations: ClassVar = (
        Operation(
            "POST", "/api/v1/queue/reset-stuck", "Put right what is stuck", StuckOrder, {200: StuckAnswer},
            security=TOKEN, tag="queues",
            description="Deliveries that were taken longer ago than `older_than`, or by a worker that is gone, are pending "
            "again; messages whose deliveries have all ended end as these did.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(StuckOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """How many."""
        given = read_json(request, self._decoder)
        older_than = timedelta(seconds=given.older_than)
        found = stuck.look(older_than) if given.dry_run else stuck.reset(older_than, request.context.caller.actor)
        shown = StuckAnswer(
            dry_run=given.dry_run,
            deliveries=found.deliveries,
            messages=found.messages,
            oldest_seconds=round(found.oldest_seconds, 3),
        )
        answer(response, shown)
