"""What is sent to a webhook: the payload, its signatures, its headers."""

from __future__ import annotations

import base64
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from standardwebhooks import Webhook as Signer

from messagebroker import __version__
from messagebroker.ops import ids
from messagebroker.ops.channels import cloudevent
from messagebroker.ops.channels.channel import Work
from messagebroker.ops.channels.webhook_config import SigningSecret, WebhookConfig, WebhookSecrets

MASK = "***"
"""In the place of secret headers, where headers are kept."""

_USER_AGENT = f"MessageBroker/{__version__}"
_encoder = msgspec.json.Encoder()


class Message(msgspec.Struct, frozen=True, gc=False):
    """The native payload. Every field is always there, null where the message has none; one of the bodies is null."""

    id: str
    topic: str
    client: str
    priority: str
    created_at: datetime
    sender: str | None
    body: str | None
    body_base64: str | None  # of a body that is no text
    content_type: str | None
    metadata: dict[str, Any] | None
    correlation_id: str | None


@dataclass(frozen=True, kw_only=True)
class Request:
    """One attempt. `shown`: the headers as they may be kept."""

    body: bytes
    headers: dict[str, str]
    shown: dict[str, str]


def request(work: Work, authority: str) -> Request:
    """What this attempt sends. Body and `webhook-id` are the same at every attempt; time, signature and trace are not."""
    config: WebhookConfig = work.target.config
    secrets: WebhookSecrets = work.target.secrets or WebhookSecrets()
    events = config.format == "cloudevents"
    body = cloudevent.encoded(work) if events else native(work)
    own = {
        "Host": authority,
        "User-Agent": _USER_AGENT,
        "Content-Type": cloudevent.CONTENT_TYPE if events else "application/json",
        **signed(ids.text(work.message_id), body, secrets.signing, time.time()),
        "traceparent": continued(work.traceparent),
    }
    return Request(
        body=body,
        headers={**config.headers, **secrets.headers, **own},
        shown={**config.headers, **dict.fromkeys(secrets.headers, MASK), **own},
    )


def native(work: Work) -> bytes:
    """The JSON of a `Message`."""
    body = work.payload.body
    is_text = isinstance(body, str)
    return _encoder.encode(
        Message(
            id=ids.text(work.message_id),
            topic=work.topic,
            client=work.client,
            priority=work.priority,
            created_at=work.created_at,
            sender=work.payload.sender,
            body=body if is_text else None,
            body_base64=None if is_text else base64.b64encode(body).decode(),
            content_type=work.payload.content_type,
            metadata=work.payload.metadata,
            correlation_id=work.correlation_id,
        )
    )


def signed(message_id: str, body: bytes, signing: list[SigningSecret], now: float) -> dict[str, str]:
    """The headers of the Standard Webhooks specification, with a signature for each secret that has not ended.

    Args:
        message_id: the `webhook-id`.
        body: as it is sent, in UTF-8.
        signing: the secrets, the current one first.
        now: seconds since 1970.
    """
    moment = datetime.fromtimestamp(int(now), UTC)  # a float may round up to the next second, and header and signature differ
    text = body.decode()
    valid = [one.secret for one in signing if one.until is None or one.until > moment]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(_signer(secret).sign(message_id, moment, text) for secret in valid),
    }


def continued(traceparent: str | None) -> str:
    """The `traceparent` of an attempt: the message's trace, or a new one, with a span of its own."""
    span = os.urandom(8).hex()
    if traceparent is None:
        return f"00-{os.urandom(16).hex()}-{span}-01"
    return f"{traceparent[:36]}{span}{traceparent[52:]}"


@lru_cache(maxsize=4096)
def _signer(secret: str) -> Signer:
    return Signer(secret)
