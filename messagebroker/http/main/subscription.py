"""/api/v1/subscriptions/{subscription_id}: one of them; changing it, switching it off and on, ending it."""

from __future__ import annotations

from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.client_views import fields_named
from messagebroker.http.main.etags import DESCRIBED, require_match, set_etag
from messagebroker.http.main.people import number
from messagebroker.http.main.subscription_views import (
    ACT,
    IDS,
    MANAGE,
    ONE,
    OWN,
    READ,
    SubscriptionFields,
    SubscriptionView,
    acted_on,
    seen,
    settled,
    view_of,
)
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.ops import subscription_removal, subscriptions
from messagebroker.ops.subscriptions import Check, Details
from messagebroker.settings import Settings

_CHANGED = {200: SubscriptionView, 404: None, 412: None}
_LIMIT = 256 * 1024


class Reason(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why it is switched off, for those who find it so."""

    why: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None


class OneSubscription:
    """Somebody else's looks like one that is not there."""

    rights: ClassVar = {
        "GET": Right(permission=READ, own=OWN),
        "PATCH": Right(permission=MANAGE),
        "DELETE": Right(permission=MANAGE),
    }
    operations: ClassVar = (
        Operation(
            "GET", ONE, "One subscription", responses={200: SubscriptionView, 404: None}, path_types=IDS, security=TOKEN,
            tag="deliveries", response_headers={200: DESCRIBED},
        ),
        Operation(
            "PATCH", ONE, "Change a subscription", request=SubscriptionFields, responses={**_CHANGED, 422: None},
            path_types=IDS, security=TOKEN, tag="deliveries", response_headers={200: DESCRIBED},
            description="Workers know about a second later. Takes If-Match.",
        ),
        Operation(
            "DELETE", ONE, "End a subscription", responses={204: None, 404: None, 412: None}, path_types=IDS, security=TOKEN,
            tag="deliveries", description="What was still to be delivered is cancelled; the history stays. Takes If-Match.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(SubscriptionFields)

    def on_get(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """The subscription, with its tag."""
        _answer(response, seen(request.context.caller, subscription_id))

    def on_patch(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """The fields that are given."""
        given = read_json(request, self._decoder, limit=_LIMIT).given()
        known, actor = number(subscription_id, "subscription"), request.context.caller.actor
        with fields_named():
            changed = subscriptions.change(self._settings, known, given, actor, check=_check(request))
        _answer(response, changed)

    def on_delete(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """204."""
        known = number(subscription_id, "subscription")
        subscription_removal.remove(known, request.context.caller.actor, check=_check(request))
        response.status = 204


class DisabledSubscription:
    """The switch."""

    rights: ClassVar = {"POST": Right(permission=ACT, own=OWN)}
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/disable", "Switch a subscription off", request=Reason, responses=_CHANGED, path_types=IDS,
            security=TOKEN, tag="deliveries", response_headers={200: DESCRIBED},
            description="What becomes due meanwhile is a dead letter, which `recover` brings back, `replay` what is stored. "
            "Also for the owner.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Reason)

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """The subscription as it is then."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        known = acted_on(caller, subscription_id).id
        _answer(response, subscriptions.disable(known, caller.actor, why=given.why, check=_check(request)))


class EnabledSubscription:
    """The other way round."""

    rights: ClassVar = {"POST": Right(permission=ACT, own=OWN)}
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/enable", "Switch a subscription on", responses=_CHANGED, path_types=IDS, security=TOKEN,
            tag="deliveries", response_headers={200: DESCRIBED},
            description="Its failures are forgotten. Also for the owner. The request has no body.",
        ),
    )  # fmt: skip

    def on_post(self, request: falcon.Request, response: falcon.Response, subscription_id: str) -> None:
        """The subscription as it is then."""
        caller: Caller = request.context.caller
        known = acted_on(caller, subscription_id).id
        _answer(response, subscriptions.enable(known, caller.actor, check=_check(request)))


def _answer(response: falcon.Response, details: Details) -> None:
    view = view_of(details)
    set_etag(response, settled(view))
    answer(response, view)


def _check(request: falcon.Request) -> Check:
    return lambda details: require_match(request, settled(view_of(details)))
