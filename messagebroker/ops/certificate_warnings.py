"""Certificates that end soon, the CA's too: told 30, 14, 7 and 1 days before, once each, and shown as a metric all the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import peewee as pw
import structlog

from messagebroker.db.connection import database
from messagebroker.db.models import Certificate, CertificateWarning, Client, User
from messagebroker.errors import Refused
from messagebroker.ops import audit, clock, pki, registry
from messagebroker.ops.audit import Actor
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.component_certificates import COMPONENTS, MONITORING
from messagebroker.ops.identity import serial_of
from messagebroker.ops.metrics import CERTIFICATE_EXPIRES
from messagebroker.ops.permissions import ADMIN
from messagebroker.settings import Settings

STEPS = (1, 7, 14, 30)
AGAIN = timedelta(minutes=5)
"""After a claim that led to no e-mail, because the mail server or this main failed: the next round claims it again."""
AUTHORITY = "ca"
_MAIN = Actor(name="component:main")
_log = structlog.get_logger("messagebroker.certificates")

Send = Callable[[Settings, str, str, str], Any]
"""Sends an e-mail: settings, to, subject, text."""


class CertificateWarnings:
    """What main does every few minutes. That an e-mail is to be sent is kept in the database until it was.

    Args:
        settings: for the database, the CA and the mail server.
        send: sends e-mails; None: as SMTP_HOST says, or not at all.
    """

    def __init__(self, settings: Settings, send: Send | None = None) -> None:
        self._settings = settings
        self._send = mailer(settings) if send is None else send
        self._sent: set[tuple[str, str]] = set()  # of a certificate whose other e-mails could not be sent: serial, to

    def round(self) -> None:
        """Tells of every certificate that has come nearer to its end than the last step that was told.

        Raises:
            Unavailable: the database does not answer.
            Damaged: the CA's certificate is none.
        """
        with registry.session(self._settings):
            ending = ending_soon(self._settings)
            for row in ending:
                _tell(row, mailing=self._send is not None)
        for row in ending if self._send is not None else []:
            self._mail(row)

    def _mail(self, row: Certificate) -> None:
        with registry.session(self._settings):
            if not _claimed(row):
                return
            recipients = _recipients(row)
        sent = [self._sent_to(to, row) for to in recipients]  # one that fails does not keep the others from theirs
        if all(sent):
            with registry.session(self._settings):
                CertificateWarning.update(mail_due_at=None).where(CertificateWarning.serial == row.serial).execute()
            self._sent = {(serial, to) for serial, to in self._sent if serial != row.serial}

    def _sent_to(self, to: str, row: Certificate) -> bool:
        if (row.serial, to) in self._sent:
            return True
        assert self._send is not None
        try:
            self._send(self._settings, to, _subject(row), self._text(row))
        except Refused as error:
            _log.error("the mail server will not have a warning", to=to, error=str(error))
        except Exception as error:  # noqa: BLE001 (whatever a mail server does, the next one may go out)
            _log.warning("a warning could not be mailed", to=to, error=str(error))
            return False
        self._sent.add((row.serial, to))
        return True

    def _text(self, row: Certificate) -> str:
        if row.kind == AUTHORITY:
            way_out = "A new CA means a new certificate for every component and every client: plan the change now."
        elif row.name == MONITORING:
            way_out = "It belongs to a program that is not ours: run `messagebroker setup` on the main server, which renews it."
        elif row.kind == "component":
            way_out = (
                f"`messagebroker setup` on the main server renews it, if {row.name} did not do so itself; its log says why."
            )
        else:
            way_out = (
                "The client can renew it itself while it is valid (renew_certificate() of the Python client, or\n"
                "POST /api/v1/certificates/renew on the proxy), or an administrator issues a new one."
            )
        return (
            f"The certificate {row.serial} of {_holder(row)} at {self._settings.primary_domain}\n"
            f"ends on {row.not_after:%Y-%m-%d at %H:%M} UTC. After that its connections are refused.\n\n{way_out}\n"
        )


def mailer(settings: Settings) -> Send | None:
    """None where no mail server is configured."""
    if settings.smtp_host is None:
        return None
    from messagebroker.ops import mail  # loads what sends, which most installations never need

    return mail.send


def ending_soon(settings: Settings) -> list[Certificate]:
    """The newest certificate of every holder that ends within the first step; not of clients that may not send anyway.

    Raises:
        Damaged: the CA's certificate is none.
    """
    now = clock.now()
    limit = now + timedelta(days=max(STEPS))
    used = (Certificate.kind == "client") | Certificate.name.in_(COMPONENTS)  # not those that setup made for others once
    trusted = Certificate.revoked_at.is_null() & used
    columns = (Certificate.serial, Certificate.kind, Certificate.name, Certificate.not_after)
    rows = Certificate.select(*columns).where(trusted & (Certificate.not_after > now) & (Certificate.not_after <= limit))
    newest = {(row.kind, row.name): row for row in rows.order_by(Certificate.not_after)}
    names = sorted({row.name for row in newest.values()})
    found = [row for row in _authority(settings) if now < row.not_after <= limit]
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


def _authority(settings: Settings) -> list[Certificate]:
    """The CA's own, which is in no table; none where it is not."""
    path = CaFolder(settings).path / "ca.crt"
    if not path.exists():
        return []
    certificate = pki.load_certificate(path.read_bytes())
    ends = certificate.not_valid_after_utc
    return [Certificate(serial=serial_of(certificate), kind=AUTHORITY, name=AUTHORITY, not_after=ends)]


def show(settings: Settings) -> None:
    """Brings the gauge up to date; a holder that has renewed is not shown any more."""
    now = clock.now()
    CERTIFICATE_EXPIRES.clear()
    for row in ending_soon(settings):
        CERTIFICATE_EXPIRES.labels(row.kind, row.name).set((row.not_after - now).total_seconds())


def _tell(row: Certificate, *, mailing: bool) -> None:
    """One process tells of a step: its row, which says that an e-mail is to be sent, and the audit row are there together."""
    step = step_of(row)
    if (
        step is None
        or CertificateWarning.select().where(CertificateWarning.serial == row.serial, CertificateWarning.days == step).exists()
    ):
        return
    now = clock.now()
    try:
        with database.atomic():
            CertificateWarning.insert(serial=row.serial, days=step, told_at=now, mail_due_at=now if mailing else None).execute()
            details = {"holder": f"{row.kind}:{row.name}", "ends": row.not_after.isoformat(), "step": step}
            audit.record_by(_MAIN, "certificate.expires", "certificate", row.serial, details)
    except pw.IntegrityError:  # another main was faster
        return
    _log.warning("a certificate ends soon", holder=f"{row.kind}:{row.name}", days=_days(row), serial=row.serial)


def _claimed(row: Certificate) -> bool:
    """Whether this process is the one that sends: it alone moves the time on at which another would try."""
    now = clock.now()
    due = (CertificateWarning.serial == row.serial) & (CertificateWarning.mail_due_at <= now)
    return bool(CertificateWarning.update(mail_due_at=now + AGAIN).where(due).execute())


def _holder(row: Certificate) -> str:
    return "the CA" if row.kind == AUTHORITY else f"{row.kind} {row.name}"


def _subject(row: Certificate) -> str:
    left = _days(row)
    whose = "the CA" if row.kind == AUTHORITY else str(row.name)
    return f"Message Broker: the certificate of {whose} ends in {left} day{'' if left == 1 else 's'}"


def _days(row: Certificate) -> int:
    seconds: float = (row.not_after - clock.now()).total_seconds()
    return max(1, round(seconds / 86_400))


def _recipients(row: Certificate) -> list[str]:
    """A client's owner; where there is none, and for components and the CA, the administrators."""
    if row.kind == "client":
        client = Client.get_or_none(Client.name == row.name)
        owner = client and User.get_or_none((User.email == client.owner) & User.disabled_at.is_null())
        if owner:
            return [str(owner.email)]
    return [user.email for user in User.select().where((User.role == ADMIN) & User.disabled_at.is_null())]
