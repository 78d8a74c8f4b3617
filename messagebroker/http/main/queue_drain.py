"""POST /api/v1/queue/{queue}/drain: whether a queue is empty, after waiting for it a little."""

from __future__ import annotations

from typing import Annotated, ClassVar

import falcon
import msgspec
import redis as redis_py

from messagebroker.errors import Refused
from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.queue_controls import MANAGE, ONE, QueueName
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import draining
from messagebroker.ops.draining import NotDrained
from messagebroker.ops.redis_client import unavailable


class DrainOrder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`seconds`: how long to wait at most; 0 looks once. `stored`: until every accepted message is stored will do."""

    seconds: Annotated[int, msgspec.Meta(ge=0, le=10)] = 10
    stored: bool = False


class DrainAnswer(msgspec.Struct, kw_only=True):
    """`drained`: nothing waits and nothing runs. Otherwise so many do; ask again."""

    queue: str
    drained: bool
    waiting: int
    running: int


class DrainedQueue:
    """Pausing is what stops a queue; this tells when one has come to its end."""

    rights: ClassVar = MANAGE
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/drain", "Wait until a queue is empty", DrainOrder, {200: DrainAnswer, 404: None, 409: None},
            path_types={"queue": QueueName}, security=TOKEN, tag="queues",
            description="Stop who sends first: what comes in meanwhile is waited for too. What is for later, such as "
            "retries, stays. A queue that is paused and not empty is a 409, since this would never end.",
        ),
    )  # fmt: skip

    def __init__(self, redis: redis_py.Redis) -> None:
        self._redis = redis
        self._decoder = msgspec.json.Decoder(DrainOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response, queue: str) -> None:
        """What is left after at most ten seconds."""
        given = read_json(request, self._decoder)
        found = DrainAnswer(queue=queue, drained=False, waiting=0, running=0)
        try:
            found.drained = self._drained(given, found)
        except Refused as error:
            raise Problem(409, "conflict", str(error)) from None
        except redis_py.RedisError as error:
            raise unavailable(self._redis, error) from error
        answer(response, found)

    def _drained(self, given: DrainOrder, found: DrainAnswer) -> bool:
        def report(waiting: int, running: int) -> None:
            found.waiting, found.running = waiting, running

        try:
            draining.drain(self._redis, [found.queue], seconds=given.seconds, only_stored=given.stored, report=report)
        except NotDrained:
            return False
        return True
