"""Certificates that end soon: told 30, 14, 7 and 1 days before, once each, and shown as a metric all the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import peewee as pw
import structlog

from messagebroker.db.connection import database
from messagebroker.db.models import Certificate, CertificateWarning, Client, User
from messagebroker.ops import audit, clock, registry
from messagebroker.ops.audit import Actor
from messagebroker.ops.identity import POLICY_SIGNER
from messagebroker.ops.metrics import CERTIFICATE_EXPIRES
from messagebroker.ops.permissions import ADMIN
from messagebroker.settings import Settings

STEPS = (1, 7, 14, 30)
_MAIN = Actor(name="component:main")
_MOST_TRIES = 50
_log = structlog.get_logger("messagebroker.certificates")

Send = Callable[[Settings, str, str, str], Any]
"""Sends an e-mail: settings, to, subject, text."""


@dataclass
class _Mail:
    to: str
    subject: str
    text: str
    tries: int = 0


class CertificateWarnings:
    """What main does every few minutes. An e-mail that cannot be sent is tried again the next time.

    Args:
        settings: for the database and the mail server.
        send: sends e-mails; None: as SMTP_HOST says, or not at all.
    """

    def __init__(self, settings: Settings, send: Send | None = None) -> None:
        self._settings = settings
        self._send = mailer(settings) if send is None else send
        self._unsent: list[_Mail] = []

    def round(self) -> None:
        """Tells of every certificate that has come nearer to its end than the last step that was told.

        Raises:
            Unavailable: the database does not answer.
        """
        with registry.session(self._settings):
            for row in ending_soon():
                step = step_of(row)
                if step is not None and _told_first(row, step):
                    self._unsent += self._mails(row)
        self._post()

    def _mails(self, row: Certificate) -> Iterable[_Mail]:
        if self._send is None:
            return []
        left = _days(row)
        subject = f"Message Broker: the certificate of {row.name} ends in {left} day{'' if left == 1 else 's'}"
        renewal = (
            f"`messagebroker setup` on the main server renews it, if {row.name} did not do so itself; its log says why."
            if row.kind == "component"
            else "The client can renew it itself while it is valid (renew_certificate() of the Python client, or\n"
            "POST /api/v1/certificates/renew on the proxy), or an administrator issues a new one."
        )
        text = (
            f"The certificate {row.serial} of {row.kind} {row.name} at {self._settings.primary_domain}\n"
            f"ends on {row.not_after:%Y-%m-%d at %H:%M} UTC. After that its connections are refused.\n\n{renewal}\n"
        )
        return [_Mail(to, subject, text) for to in _recipients(row)]

    def _post(self) -> None:
        waiting, self._unsent = self._unsent, []
        for mail in waiting:
            assert self._send is not None
            try:
                self._send(self._settings, mail.to, mail.subject, mail.text)
            except Exception as error:  # noqa: BLE001 (whatever a mail server does, the next one may go out)
                mail.tries += 1
                _log.warning("a warning could not be mailed", to=mail.to, error=str(error), tries=mail.tries)
                if mail.tries < _MOST_TRIES:
                    self._unsent.append(mail)


def mailer(settings: Settings) -> Send | None:
    """None where no mail server is configured."""
    if settings.smtp_host is None:
        return None
    from messagebroker.ops import mail  # loads what sends, which most installations never need

    return mail.send


def ending_soon() -> list[Certificate]:
    """The newest certificate of every holder that ends within the first step; not of clients that may not send anyway."""
    now = clock.now()
    limit = now + timedelta(days=max(STEPS))
    trusted = Certificate.revoked_at.is_null() & (Certificate.name != POLICY_SIGNER)  # that one renews itself
    columns = (Certificate.serial, Certificate.kind, Certificate.name, Certificate.not_after)
    rows = Certificate.select(*columns).where(trusted & (Certificate.not_after > now) & (Certificate.not_after <= limit))
    newest = {(row.kind, row.name): row for row in rows.order_by(Certificate.not_after)}
    names = sorted({row.name for row in newest.values()})
    found: list[Certificate] = []
    for begin in range(0, len(names), 500):  # of so many that no statement is too long
        part = names[begin : begin + 500]
        later = Certificate.select(Certificate.kind, Certificate.name).where(
            Certificate.name.in_(part) & trusted & (Certificate.not_after > limit)
        )
        renewed = {(row.kind, row.name) for row in later}
        active = {row.name for row in Client.select(Client.name).where(Client.name.in_(part) & Client.disabled_at.is_null())}
        for (kind, name), row in newest.items():
            if name in part and (kind, name) not in renewed and (kind == "component" or name in active):
                found.append(row)
    return found


def step_of(row: Certificate) -> int | None:
    """The step that a certificate has reached; None when none yet."""
    left = row.not_after - clock.now()
    return next((step for step in STEPS if left <= timedelta(days=step)), None)


def show() -> None:
    """Brings the gauge up to date; a holder that has renewed is not shown any more."""
    now = clock.now()
    CERTIFICATE_EXPIRES.clear()
    for row in ending_soon():
        CERTIFICATE_EXPIRES.labels(row.kind, row.name).set((row.not_after - now).total_seconds())


def _told_first(row: Certificate, step: int) -> bool:
    """Whether this process is the one that tells: the row and the audit row are there together, once."""
    if (
        CertificateWarning.select()
        .where((CertificateWarning.serial == row.serial) & (CertificateWarning.days == step))
        .exists()
    ):
        return False
    try:
        with database.atomic():
            CertificateWarning.insert(serial=row.serial, days=step, told_at=clock.now()).execute()
            details = {"holder": f"{row.kind}:{row.name}", "ends": row.not_after.isoformat(), "step": step}
            audit.record_by(_MAIN, "certificate.expires", "certificate", row.serial, details)
    except pw.IntegrityError:  # another main was faster
        return False
    _log.warning("a certificate ends soon", holder=f"{row.kind}:{row.name}", days=_days(row), serial=row.serial)
    return True


def _days(row: Certificate) -> int:
    seconds: float = (row.not_after - clock.now()).total_seconds()
    return max(1, round(seconds / 86_400))


def _recipients(row: Certificate) -> list[str]:
    """A client's owner; where there is none, and for components, the administrators."""
    if row.kind == "client":
        client = Client.get_or_none(Client.name == row.name)
        owner = client and User.get_or_none((User.email == client.owner) & User.disabled_at.is_null())
        if owner:
            return [str(owner.email)]
    return [user.email for user in User.select().where((User.role == ADMIN) & User.disabled_at.is_null())]
