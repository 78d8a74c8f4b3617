"""Rotating the secret that a webhook's messages are signed with: the old one stays valid while receivers change over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import structs

from messagebroker.ops import audit, clock
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change
from messagebroker.ops.channels.webhook_config import SigningSecret, WebhookSecrets, drawn
from messagebroker.ops.subscriptions import Check, lock, rewrite_secrets, secrets_of
from messagebroker.ops.webhooks import require_webhook
from messagebroker.settings import Settings

USUAL_OVERLAP_HOURS = 24
LONGEST_OVERLAP_HOURS = 24 * 30
_MOST = 5  # that are valid at the same time; every message is signed with each


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """`secret`: this is the only time that it is shown. `old_until`: when the one before ends."""

    secret: str
    old_until: datetime


def rotate(
    settings: Settings, number: int, actor: Actor, *, overlap_hours: float = USUAL_OVERLAP_HOURS, check: Check | None = None
) -> Rotated:
    """Draws a new signing secret; messages are signed with the old ones too until their time is over.

    Raises:
        NotFound: there is no such webhook.
        Damaged: its secrets do not open.
    """
    with change():
        row, before = lock(number, check)
        require_webhook(before)
        known: WebhookSecrets = secrets_of(settings, row)
        now = clock.now()
        until = now + timedelta(hours=overlap_hours)
        old = [_until(one, until) for one in known.signing if one.until is None or one.until > now]
        new = drawn()
        kept = [one for one in old if one.until is not None and one.until > now][: _MOST - 1]
        rewrite_secrets(settings, number, structs.replace(known, signing=[new, *kept]))
        audit.record_by(actor, "webhook.rotate-secret", "subscription", str(number), {"old until": until.isoformat()})
    return Rotated(secret=new.secret, old_until=until)


def _until(one: SigningSecret, until: datetime) -> SigningSecret:
    return structs.replace(one, until=until if one.until is None else min(one.until, until))
