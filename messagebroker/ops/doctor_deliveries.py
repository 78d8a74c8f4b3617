"""Doctor: what deliveries leave through, the mail server and the names of webhooks."""

from __future__ import annotations

import queue
import smtplib
import threading
import time
from collections.abc import Iterator

import msgspec
import peewee as pw

from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import Subscription
from messagebroker.errors import BrokerError
from messagebroker.ops import resolver, smtp
from messagebroker.ops.destinations import destination
from messagebroker.ops.findings import Finding, Findings
from messagebroker.settings import Settings

_NAMES = 5  # of webhooks; what is wrong with one name is seen at its subscription
_SECONDS = 5.0
_findings = Findings("deliveries")


def check(settings: Settings) -> Iterator[Finding]:
    """Whether e-mails and webhooks get out of this machine; workers on others have ways of their own."""
    try:
        mails, hosts = _wanted(settings)
    except (BrokerError, pw.PeeweeException):
        mails, hosts = 0, []  # the check of the database says so
    yield from _mail(settings, mails)
    if hosts:
        yield _names(hosts)


def _wanted(settings: Settings) -> tuple[int, list[str]]:
    """How many subscriptions send e-mails, and some hosts of webhooks that are names."""
    open_database(settings)
    with connected():
        alive = Subscription.removed_at.is_null() & Subscription.disabled_at.is_null()
        mails = Subscription.select().where(alive, Subscription.channel == "email").count()
        newest = Subscription.select(Subscription.config).where(alive, Subscription.channel == "webhook")
        rows = newest.order_by(Subscription.id.desc()).limit(20 * _NAMES)
        found = [destination(msgspec.json.decode(row.config)["url"]) for row in rows]
    return mails, list(dict.fromkeys(one.host for one in found if not one.is_literal))[:_NAMES]


def _mail(settings: Settings, subscriptions: int) -> Iterator[Finding]:
    if settings.smtp_host is None:
        if subscriptions:
            yield _findings.error(
                f"SMTP_HOST is not set, so {subscriptions} subscriptions by e-mail deliver nothing",
                "set SMTP_HOST and what belongs to it (docs/settings.md) for main and worker",
            )
        return
    place = smtp.place(settings)
    try:
        smtp.connect(settings).close()
    except (OSError, smtplib.SMTPException) as error:
        fix = "correct SMTP_HOST, SMTP_PORT, SMTP_SECURITY, SMTP_USER or SMTP_PASSWORD, or open the firewall to it"
        yield _findings.error(f"{place} does not take us: {smtp.said(error)}", fix)
    else:
        yield _findings.ok(f"{place} takes us")


def _names(hosts: list[str]) -> Finding:
    """Of all of them together: one that is wrong is its receiver's, all of them are this machine's."""
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask(host: str) -> None:
        try:
            answers.put(host if resolver.by_system(host) else None)
        except (OSError, UnicodeError):
            answers.put(None)

    for host in hosts:
        threading.Thread(target=ask, args=(host,), daemon=True).start()  # cannot be stopped, and may take half a minute
    deadline = time.monotonic() + _SECONDS
    for _ in hosts:
        try:
            found = answers.get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if found is not None:
            return _findings.ok(f"names of webhooks have addresses ({found})")
    return _findings.error(
        f"no name of a webhook has an address here within {_SECONDS:g} s ({', '.join(hosts)})",
        "let this machine and the workers reach a name server that knows them",
    )
