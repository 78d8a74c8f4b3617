"""Bounces: e-mails that a server took and that did not arrive after all, told by delivery status notifications (RFC 3464).

The notification quotes the header of what bounced; our signed Message-ID in it names the deliveries (`email_ids.py`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, message_from_string
from email.message import Message as Mail
from itertools import islice
from typing import Any, Literal

from messagebroker.db.models import Delivery, DeliveryAttempt
from messagebroker.db.writing import writing
from messagebroker.ops import audit, ids, smtp
from messagebroker.ops.audit import Actor
from messagebroker.ops.channels.email_ids import OTHERS, Named, Signer
from messagebroker.ops.deliveries.claimed import Pair, among
from messagebroker.ops.deliveries.following import follow
from messagebroker.ops.due import database_now, lock_messages
from messagebroker.ops.fingerprints import fingerprint
from messagebroker.ops.metrics import STATUS_CHANGES
from messagebroker.ops.subscription_failures import Attempts, attempted
from messagebroker.settings import Settings

LONGEST = 2 * 1024 * 1024
"""Bytes of a notification that are read; it says what it has to say at its beginning, and quotes the e-mail after that."""
_MOST_OF_ONE = 60
"""Bounces of one delivery that are kept: it has up to 50 recipients."""
_MOST_BOUNDARIES = 100
"""The parser compares every line with those of all parts around it. A notification has a few of them."""
_boundaries = re.compile(rb"boundary[\s*0-9]*=", re.I).finditer
_NOTE = "Bounce"
_QUOTES = ("message/rfc822", "message/rfc822-headers", "text/rfc822-headers")

Effect = Literal["failed", "noted", "known", "gone"]
"""Of a bounce on a delivery: it was delivered and is now failed; it is in the history of one that is not delivered (any more);
it was there already; the delivery is not there any more."""


@dataclass(frozen=True)
class Bounce:
    """One recipient whom an e-mail of ours did not reach."""

    named: Named
    recipient: str
    code: int | None
    error: str  # one line
    mark: str  # the same for the same notification


def read(raw: bytes, settings: Settings) -> list[Bounce]:
    """The permanent failures that a notification tells of e-mails of ours; none in whatever else comes to that address.

    Raises:
        ConfigurationError: the master keys, which verify Message-IDs, are not on this machine.
    """
    if sum(1 for _ in _boundaries(raw[:LONGEST])) > _MOST_BOUNDARIES:
        return []
    try:
        mail = message_from_bytes(raw[:LONGEST])
        quoted = _quoted(mail)
        if quoted is None:
            return []
        named = Signer(settings).read(_text(quoted, "Message-ID"), _text(quoted, OTHERS) or None)
        failures = [] if named is None else list(islice(_failures(mail), _MOST_OF_ONE))
    except RecursionError:  # e-mails inside of e-mails
        return []
    return [] if named is None else [_bounce(named, fields, _text(mail, "Message-ID")) for fields in failures]


def record(bounces: Sequence[Bounce], actor: Actor) -> dict[str, Effect]:
    """Writes them down, each once; what became of the deliveries, by message id.

    A delivery that was `delivered` becomes `failed`, a dead letter with what the notification says. One that is to be tried
    again, or was given up, stays what it is.

    Raises:
        Unavailable: the database does not answer; repeating it is safe.
    """
    effects: dict[str, Effect] = {}
    for bounce in bounces:
        for message_id, effect in _record(bounce, actor).items():
            if effects.get(message_id) != "failed":
                effects[message_id] = effect
    return effects


def _record(bounce: Bounce, actor: Actor) -> dict[str, Effect]:
    number = bounce.named.subscription_id
    named = {ids.text(one): (one, number) for one in bounce.named.message_ids}
    with writing():
        lock_messages(set(bounce.named.message_ids))
        rows: Any = Delivery.select().where(among(named.values()))
        found = {ids.text(bytes(row.message_id)): row for row in rows}
        effects = {text: _effect(found.get(text), bounce) for text in named}
        now = database_now()
        fresh = [found[text] for text, effect in effects.items() if effect in ("failed", "noted")]
        if fresh:
            _note(fresh, bounce, now)
        failed = [named[text] for text, effect in effects.items() if effect == "failed"]
        if failed:
            _fail(failed, bounce, now)
            moved = follow({message_id for message_id, _ in failed})
            attempted({number: Attempts(failed=len(failed), error=bounce.error)})
            for message_id, _ in failed:
                audit.record_by(actor, "delivery.bounce", "message", ids.text(message_id), {"subscription": number})
    if failed:
        for status, count in moved.items():
            STATUS_CHANGES.labels(status).inc(count)
    return effects


def _effect(row: Any, bounce: Bounce) -> Effect:
    if row is None:
        return "gone"
    request: Any = DeliveryAttempt.request
    own = (DeliveryAttempt.message == row.message_id) & (DeliveryAttempt.subscription_id == row.subscription_id)
    kept: Any = DeliveryAttempt.select(request).where(own, request.contains(_NOTE)).tuples()
    marks = [json.loads(text).get(_NOTE) for (text,) in kept]
    if bounce.mark in marks or len(marks) >= _MOST_OF_ONE:
        return "known"
    return "failed" if row.status == "delivered" else "noted"


def _note(rows: Sequence[Any], bounce: Bounce, now: datetime) -> None:
    """In the history, under the number of the attempt that had seemed to work."""
    request = json.dumps({_NOTE: bounce.mark, "Final-Recipient": bounce.recipient})
    DeliveryAttempt.insert_many(
        [
            {
                "message": bytes(row.message_id),
                "subscription_id": row.subscription_id,
                "number": row.attempts,
                "started_at": now,
                "duration_ms": 0,
                "outcome": "failed",
                "code": bounce.code,
                "error": bounce.error,
                "request": request,
            }
            for row in rows
        ]
    ).execute()


def _fail(pairs: Sequence[Pair], bounce: Bounce, now: datetime) -> None:
    fields = {
        "status": "failed",
        "ended_at": now,
        "error": bounce.error,
        "fingerprint": fingerprint("email", bounce.code, bounce.error),
    }
    Delivery.update(**fields).where(among(pairs)).execute()


# reading what strangers write


def _quoted(mail: Mail) -> Mail | None:
    """The header of what bounced."""
    for part in mail.walk():
        if part is mail or part.get_content_type() not in _QUOTES:
            continue
        content: Any = part.get_payload()
        if isinstance(content, list):  # of message/…, which is parsed already
            return content[0] if content else None
        decoded: Any = part.get_payload(decode=True)
        return message_from_string(decoded.decode("utf-8", "replace"))
    return None


def _failures(mail: Mail) -> Iterator[Mail]:
    """The groups of fields about recipients who were given up."""
    for part in mail.walk():
        if part.get_content_type() == "message/delivery-status":
            groups: Any = part.get_payload()
            yield from (group for group in groups if _text(group, "Action").lower() == "failed")
            return


def _bounce(named: Named, fields: Mail, told_by: str) -> Bounce:
    recipient = smtp.said(_text(fields, "Final-Recipient").partition(";")[2].strip() or "somebody")[:100]
    status = _text(fields, "Status")
    diagnostic = smtp.said(_text(fields, "Diagnostic-Code").partition(";")[2])
    code = re.match(r"\s*([45][0-9][0-9])\b", diagnostic)
    why = diagnostic or smtp.said(status) or "no reason given"
    covered = "\0".join((told_by, recipient, status, diagnostic, _text(fields, "Last-Attempt-Date")))
    return Bounce(
        named=named,
        recipient=recipient,
        code=int(code[1]) if code else None,
        error=f"bounced for {recipient}: {why}",
        mark=hashlib.blake2b(covered.encode("utf-8", "replace"), digest_size=8).hexdigest(),
    )


def _text(fields: Mail, name: str) -> str:
    """A header's value on one line; empty where there is none."""
    return " ".join(str(fields.get(name, "")).split())
