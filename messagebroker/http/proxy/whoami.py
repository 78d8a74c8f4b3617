"""GET /api/v1/whoami: what the proxy sees of its caller, for people who set up a sender."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer
from messagebroker.http.openapi import Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import clock
from messagebroker.ops.policy_watcher import PolicyWatcher
from messagebroker.settings import Settings

_SECONDS = re.compile(r"\d{1,10}(\.\d{1,9})?")


class CertificateSeen(msgspec.Struct, kw_only=True):
    """The certificate of this connection."""

    serial: str
    fingerprint_sha256: str
    not_before: datetime
    not_after: datetime
    days_left: int


class ClientLimits(msgspec.Struct, kw_only=True):
    """What this client may send; null is no limit."""

    messages_per_second: int | None
    max_batch_items: int
    max_body_bytes: int
    max_metadata_bytes: int
    max_metadata_depth: int
    max_request_bytes: int
    topics: list[str] | None


class WhoAmI(msgspec.Struct, kw_only=True):
    """Who the caller is here."""

    client_id: str
    certificate: CertificateSeen
    default_topic: str | None
    limits: ClientLimits
    server_time: datetime
    clock_skew_seconds: float | None  # the caller's clock minus ours; null when no header told its time
    policy_number: int | None


ClientTime = Annotated[
    str,
    msgspec.Meta(
        description="RFC 3339 with an offset, or seconds since 1970. Without it the Date header is looked at.",
        extra_json_schema={"anyOf": [{"format": "date-time"}, {"pattern": r"^[0-9]{1,10}(\.[0-9]{1,9})?$"}]},
        examples=["1893456000", "2030-01-01T00:00:00Z"],
    ),
]


class WhoAmIHeaders(msgspec.Struct, rename={"client_time": "X-Client-Time"}):
    """How the caller tells its time."""

    client_time: ClientTime | None = None


class Who:
    """The resource."""

    operations: ClassVar = (
        Operation("GET", "/api/v1/whoami", "What the proxy sees of you", responses={200: WhoAmI}, headers=WhoAmIHeaders),
    )

    def __init__(self, settings: Settings, watcher: PolicyWatcher) -> None:
        self._settings = settings
        self._watcher = watcher

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Answers for clients; a component has no limits to speak of."""
        peer = request.context.peer
        now = clock.now()
        policy = self._watcher.current
        client = policy.clients.get(peer.name) if policy else None
        settings = self._settings
        answer(
            response,
            WhoAmI(
                client_id=peer.name,
                certificate=CertificateSeen(
                    serial=peer.serial,
                    fingerprint_sha256=peer.fingerprint,
                    not_before=peer.not_before,
                    not_after=peer.not_after,
                    days_left=(peer.not_after - now).days,
                ),
                default_topic=client.default_topic if client else None,
                limits=ClientLimits(
                    messages_per_second=client.rate if client else None,
                    max_batch_items=min((client and client.max_batch) or settings.max_batch_items, settings.max_batch_items),
                    max_body_bytes=settings.max_body_bytes,
                    max_metadata_bytes=settings.max_metadata_bytes,
                    max_metadata_depth=settings.max_metadata_depth,
                    max_request_bytes=settings.max_request_bytes,
                    topics=list(client.topics) if client and client.topics is not None else None,
                ),
                server_time=now,
                clock_skew_seconds=_skew(request, now),
                policy_number=policy.number if policy else None,
            ),
        )


def _skew(request: falcon.Request, now: datetime) -> float | None:
    told = request.env.get("HTTP_X_CLIENT_TIME")
    if told is not None:
        return round((_client_time(told) - now).total_seconds(), 3)
    try:
        moment = parsedate_to_datetime(request.env.get("HTTP_DATE", ""))
    except (ValueError, OverflowError):
        return None  # none, or one that HTTP says to pass over
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round((moment - now).total_seconds())  # it tells whole seconds


def _client_time(told: str) -> datetime:
    """RFC 3339, or seconds since 1970 as `date +%s` prints them."""
    try:
        if _SECONDS.fullmatch(told):
            return datetime.fromtimestamp(float(told), UTC)
        moment = datetime.fromisoformat(told)
        if moment.tzinfo is not None:
            return moment
    except (ValueError, OverflowError, OSError):
        pass
    raise Problem(400, "invalid-header", "X-Client-Time: RFC 3339 with an offset, or seconds since 1970", field="X-Client-Time")
