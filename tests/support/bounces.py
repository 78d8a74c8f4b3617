"""E-mails that were delivered, and delivery status notifications as mail servers write them."""

from __future__ import annotations

from email import message_from_bytes

from support.cast import Shelf
from support.works import target, work

from messagebroker.db.models import Delivery, DeliveryAttempt, Subscription
from messagebroker.ops import clock, ids
from messagebroker.ops.channels.email_config import EmailConfig
from messagebroker.ops.channels.email_message import Composer
from messagebroker.settings import Settings

POSTFIX = """\
Return-Path: <>
From: MAILER-DAEMON@mx.example.org (Mail Delivery System)
To: broker@example.org
Subject: Undelivered Mail Returned to Sender
Date: Sun, 22 Nov 2026 10:00:00 +0000
Message-Id: <{told_by}@mx.example.org>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.example.org.
--B
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
Arrival-Date: Sun, 22 Nov 2026 09:59:58 +0000

{groups}
--B
Content-Description: Undelivered Message
Content-Type: {kind}

{quoted}
--B--
"""
GROUP = """\
Final-Recipient: rfc822; {recipient}
Original-Recipient: rfc822;{recipient}
Action: {action}
Status: 5.1.1
Remote-MTA: dns; mail.example.net
Diagnostic-Code: smtp; {diagnostic}

"""


def notification(
    mail: bytes, recipient: str = "ada@example.org", *, action: str = "failed", told_by: str = "1",
    diagnostic: str = "550 5.1.1 <ada@example.org>: Recipient address rejected:\n    User unknown",
    kind: str = "message/rfc822", more: str = "",
) -> bytes:  # fmt: skip
    """That `mail`, as it was sent, did not arrive."""
    quoted = mail.replace(b"\r\n", b"\n").decode()
    if kind != "message/rfc822":
        quoted = quoted.partition("\n\n")[0] + "\n"
    groups = GROUP.format(recipient=recipient, action=action, diagnostic=diagnostic) + more
    made = POSTFIX.format(told_by=told_by, groups=groups, kind=kind, quoted=quoted).encode()
    assert message_from_bytes(made).is_multipart()
    return made


class Sent:
    """Messages that one e-mail delivered."""

    def __init__(self, settings: Settings, number: int = 1, status: str = "delivered") -> None:
        now = clock.now()
        self.subscription = Subscription.create(
            name="billing", channel="email", topics='["*"]', config="{}", created_at=now, changed_at=now
        ).id
        shelf = Shelf(settings)
        self.messages = [shelf.put(status=status) for _ in range(number)]
        self.ids = [ids.parse(one) or b"" for one in self.messages]
        for one in self.ids:
            Delivery.insert(
                message=one,
                subscription_id=self.subscription,
                priority=2,
                status=status,
                attempts=2,
                created_at=now,
                ended_at=now,
            ).execute()
        to = target(
            EmailConfig(to=["ada@example.org", "bob@example.org"], digest_minutes=15 * (number > 1)), id=self.subscription
        )
        self.mail = Composer(settings).compose([work(to, message_id=one) for one in self.ids]).as_bytes()

    @property
    def delivery(self) -> Delivery:
        return Delivery.get(Delivery.message == self.ids[0])

    @property
    def attempts(self) -> list[DeliveryAttempt]:
        return list(DeliveryAttempt.select().order_by(DeliveryAttempt.id))
