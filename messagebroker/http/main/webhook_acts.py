"""/api/v1/webhooks/{subscription_id}/…: a test, sending again, a new signing secret. For operators and for its owner."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.errors import Conflict
from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.message import MessageId
from messagebroker.http.main.subscription_views import ACT, IDS, OWN, WhichTime, acted_on
from messagebroker.http.main.webhooks import ONE
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem, rate_limited
from messagebroker.ops import ids, resending, signing_secrets, webhook_test
from messagebroker.ops.limits import Limiter, Shared
from messagebroker.ops.signing_secrets import LONGEST_OVERLAP_HOURS, USUAL_OVERLAP_HOURS
from messagebroker.ops.webhook_test import TooMany
from messagebroker.ops.webhooks import require_webhook
from messagebroker.settings import Settings

_RIGHTS = {"POST": Right(permission=ACT, own=OWN)}
_TESTS_A_SECOND = 1  # of one webhook


class TestAnswer(msgspec.Struct, kw_only=True):
    """What came of a test event. `request`: the headers that were sent, secrets masked; `answer`: its first 4 KiB."""

    delivered: bool
    message_id: str
    code: int | None
    error: str | None
    duration_ms: int
    request: dict[str, str]
    answer: str


class WhichMessage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to send again."""

    message_id: MessageId


class ResendAnswer(msgspec.Struct, kw_only=True):
    """It goes out at once, with the id that it had."""

    message_id: str
    due_at: datetime


class RecoverAnswer(msgspec.Struct, kw_only=True):
    """`found`: failed ones of that time, 50,000 at most. `recovered`: due again. `more`: ask again for the rest."""

    found: int
    recovered: int
    more: bool
    lasts_seconds: float


class Overlap(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How long messages are signed with the old secret too."""

    overlap_hours: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_OVERLAP_HOURS)] = USUAL_OVERLAP_HOURS


class RotatedSecret(msgspec.Struct, kw_only=True):
    """The new secret, which is not shown again; until when the old one is used too."""

    signing_secret: str
    old_until: datetime


class TestWebhook:
    """One signed event, at once; it is stored nowhere."""

    rights: ClassVar = _RIGHTS
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/test", "Send a test event", responses={200: TestAnswer, 404: None, 429: None, 503: None},
            path_types=IDS, security=TOKEN, tag="deliveries",
            response_headers={429: {"Retry-After": "Seconds."}, 503: {"Retry-After": "Seconds."}},
            description="Answers 200 also when the receiver refuses it: `delivered` tells. The request has no body.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings, shared: Shared) -> None:
        self._settings = settings
        self._limiter = Limiter(shared, kind="webhook-test", rate=_TESTS_A_SECOND)

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """What came of it."""
        caller: Caller = request.context.caller
        known = require_webhook(acted_on(caller, subscription_id)).id
        verdict = self._limiter.charge(str(known))
        if verdict.refused:
            raise rate_limited(verdict, "webhook")
        try:
            tested = webhook_test.run(self._settings, known, caller.actor)
        except TooMany as error:
            raise Problem(503, "busy", str(error), headers={"Retry-After": "5"}) from None
        answer(response, msgspec.convert(tested, TestAnswer, from_attributes=True))


class ResendWebhook:
    """One message, whatever became of it."""

    rights: ClassVar = _RIGHTS
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/resend", "Send a message again", WhichMessage, {200: ResendAnswer, 404: None, 409: None, 422: None},
            path_types=IDS, security=TOKEN, tag="deliveries",
            description="It keeps its `webhook-id`: receivers that have it already can drop it. A pending one is due now.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(WhichMessage)

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """When it goes out."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        message_id = ids.parse(given.message_id)
        if message_id is None:
            raise Problem(422, "invalid-field", "is no message id", field="message_id")
        known = require_webhook(acted_on(caller, subscription_id)).id
        try:
            due_at = resending.resend(known, message_id, caller.actor)
        except Conflict as error:
            raise Problem(409, "not-resendable", str(error)) from None
        answer(response, ResendAnswer(message_id=given.message_id, due_at=due_at))


class RecoverWebhook:
    """After an outage of the receiver."""

    rights: ClassVar = _RIGHTS
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/recover", "Send again what failed since a time", WhichTime,
            {200: RecoverAnswer, 404: None, 409: None}, path_types=IDS, security=TOKEN, tag="deliveries",
            description="`dry_run` only counts. Messages keep their ids and times; they become due at the given rate.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(WhichTime)

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """How many."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        given.require_order()
        known = require_webhook(acted_on(caller, subscription_id)).id
        if given.dry_run:
            found = resending.preview(known, given.since, given.until)
            shown = RecoverAnswer(found=found, recovered=0, more=False, lasts_seconds=found / given.rate)
        else:
            try:
                done = resending.recover(known, given.since, given.until, caller.actor, rate=given.rate)
            except Conflict as error:
                raise Problem(409, "disabled", str(error)) from None
            shown = msgspec.convert(done, RecoverAnswer, from_attributes=True)
        answer(response, shown)


class RotateSecret:
    """With an overlap: receivers change over in their own time."""

    rights: ClassVar = _RIGHTS
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/rotate-secret", "Draw a new signing secret", Overlap, {200: RotatedSecret, 404: None},
            path_types=IDS, security=TOKEN, tag="deliveries",
            description="Messages are signed with both until the old one's time is over.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(Overlap)

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """The new secret, this once."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        known = require_webhook(acted_on(caller, subscription_id)).id
        rotated = signing_secrets.rotate(self._settings, known, caller.actor, overlap_hours=given.overlap_hours)
        answer(response, RotatedSecret(signing_secret=rotated.secret, old_until=rotated.old_until))
