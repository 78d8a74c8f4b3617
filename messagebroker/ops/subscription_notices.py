"""E-mails to owners of subscriptions: written beside what they are about, sent by main, once each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from messagebroker.db import inspection
from messagebroker.db.connection import connected
from messagebroker.db.models import Subscription, SubscriptionNotice, User
from messagebroker.db.writing import time_now
from messagebroker.errors import Refused
from messagebroker.ops.certificate_warnings import Send, mailer
from messagebroker.ops.permissions import ADMIN
from messagebroker.settings import Settings

AGAIN = timedelta(minutes=5)
"""After a claim that led to no e-mail, because the mail server or this main failed."""
TOO_OLD = timedelta(days=1)
"""Then it is no news: main was down for long, or no mail server was configured."""
_MOST = 100  # a round
_MAX_TEXT = 1000
_SUBJECTS: dict[str, str] = {
    "breaker.open": "the destination of subscription {id} fails",
    "failing": "subscription {id} is going to be disabled",
    "disabled": "subscription {id} is disabled",
}
_log = structlog.get_logger("messagebroker.subscriptions")


def add(subscription_id: int, kind: str, text: str) -> None:
    """Inside the caller's transaction. `kind`: a key of the subjects."""
    assert kind in _SUBJECTS, kind
    row = {"subscription_id": subscription_id, "kind": kind, "text": text[:_MAX_TEXT]}
    SubscriptionNotice.insert(**row, created_at=time_now(), mail_due_at=time_now()).execute()


def forget_old(before: datetime) -> None:
    """Removes what was written before a time."""
    with connected():
        SubscriptionNotice.delete().where(SubscriptionNotice.created_at < before).execute()


class NoticeMails:
    """What main does every few seconds.

    Args:
        settings: for the mail server.
        send: sends e-mails; None: as SMTP_HOST says, or not at all.
    """

    def __init__(self, settings: Settings, send: Send | None = None) -> None:
        self._settings = settings
        self._send: Callable[[Settings, str, str, str], Any] | None = mailer(settings) if send is None else send
        self._sent: set[tuple[int, str]] = set()  # of a notice whose other e-mails could not be sent: notice, to

    def round(self) -> None:
        """Sends what is due.

        Raises:
            Unavailable: the database does not answer.
        """
        if self._send is None:
            return
        table = SubscriptionNotice
        with connected():
            now = inspection.clock()
            fresh = table.created_at > now - TOO_OLD
            table.update(mail_due_at=None).where((table.mail_due_at <= now) & ~fresh).execute()
            due = list(table.select().where(table.mail_due_at <= now).order_by(table.mail_due_at, table.id).limit(_MOST))
        for notice in due:
            self._mail(notice)

    def _mail(self, notice: SubscriptionNotice) -> None:
        with connected():
            if not _claimed(notice):
                return
            subscription = Subscription.get_or_none(Subscription.id == notice.subscription_id)
            recipients = _recipients(subscription)
        name = subscription.name if subscription else "?"
        sent = [self._sent_to(to, notice, name) for to in recipients]  # one that fails does not keep the others from theirs
        if all(sent):
            with connected():
                SubscriptionNotice.update(mail_due_at=None).where(SubscriptionNotice.id == notice.id).execute()
            self._sent = {(number, to) for number, to in self._sent if number != notice.id}

    def _sent_to(self, to: str, notice: SubscriptionNotice, name: str) -> bool:
        if (notice.id, to) in self._sent:
            return True
        assert self._send is not None
        subject = "Message Broker: " + _SUBJECTS[notice.kind].format(id=notice.subscription_id)
        try:
            self._send(self._settings, to, subject, _text(notice, name))
        except Refused as error:
            _log.error("the mail server will not have a notice", to=to, error=str(error))
        except Exception as error:  # noqa: BLE001 (whatever a mail server does, the next one may go out)
            _log.warning("a notice could not be mailed", to=to, error=str(error))
            return False
        self._sent.add((notice.id, to))
        return True


def _text(notice: SubscriptionNotice, name: str) -> str:
    number = notice.subscription_id
    return (
        f"Subscription {number} ({name}), {notice.created_at:%Y-%m-%d %H:%M} UTC:\n\n{notice.text}\n\n"
        f"`messagebroker breakers list` shows the destinations that fail, and\n"
        f"`messagebroker breakers events --subscription {number}` what this one did.\n"
    )


def _claimed(notice: SubscriptionNotice) -> bool:
    """Whether this process is the one that sends: it alone moves the time on at which another would try."""
    now = inspection.clock()
    due = (SubscriptionNotice.id == notice.id) & (SubscriptionNotice.mail_due_at <= now)
    return bool(SubscriptionNotice.update(mail_due_at=now + AGAIN).where(due).execute())


def _recipients(subscription: Subscription | None) -> list[str]:
    """Its owner; where there is none, the administrators."""
    if subscription is not None and subscription.owner is not None:
        owner = User.get_or_none((User.email == subscription.owner) & User.disabled_at.is_null())
        if owner:
            return [str(owner.email)]
    return [user.email for user in User.select().where((User.role == ADMIN) & User.disabled_at.is_null())]
