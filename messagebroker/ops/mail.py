"""E-mail through the organisation's SMTP server: plain text, one recipient at a time."""

from __future__ import annotations

import smtplib
import ssl
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from messagebroker.errors import ConfigurationError, Refused, Unavailable
from messagebroker.ops import clock
from messagebroker.ops.names import is_email
from messagebroker.settings import Settings

_SECONDS = 15.0
_LONGEST_SUBJECT = 200


def send(settings: Settings, to: str, subject: str, text: str) -> None:
    """Hands one message to the server; returns when the server has taken it.

    Raises:
        ConfigurationError: SMTP_HOST is not set, or the server does not let us in.
        Refused: address or subject would not stay what they are (line ends), or the server will not have this recipient.
        Unavailable: the server does not answer.
    """
    if settings.smtp_host is None:
        raise ConfigurationError("SMTP_HOST is not set, so no e-mail can be sent")
    message = _message(settings, to, subject, text)
    place = f"the mail server {settings.smtp_host}:{settings.smtp_port} (SMTP_HOST, SMTP_PORT)"
    try:
        with _connect(settings) as server:
            server.send_message(message, from_addr=_sender(settings), to_addrs=[to])
    except smtplib.SMTPRecipientsRefused as error:
        code, reason = next(iter(error.recipients.values()))
        if 400 <= code < 500:
            raise Unavailable(f"{place} takes no mail for this recipient now: {_said(reason)}") from error
        raise Refused(f"{place} will not have this recipient: {_said(reason)}") from error
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError, smtplib.SMTPSenderRefused) as error:
        raise ConfigurationError(
            f"{place} refuses us: {_said(error)}; correct SMTP_USER, SMTP_PASSWORD, SMTP_SECURITY or MAIL_FROM"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(f"{place} shows a certificate that does not verify: {error.verify_message}") from error
    except smtplib.SMTPResponseException as error:
        kind = Unavailable if error.smtp_code < 500 else Refused
        raise kind(f"{place} answered {error.smtp_code}: {_said(error.smtp_error)}") from error
    except (OSError, smtplib.SMTPException) as error:
        raise Unavailable(f"{place} does not answer: {_said(error)}") from error


def _connect(settings: Settings) -> smtplib.SMTP:
    host = settings.smtp_host or ""
    if settings.smtp_security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            host, settings.smtp_port, timeout=_SECONDS, context=ssl.create_default_context()
        )
    else:
        server = smtplib.SMTP(host, settings.smtp_port, timeout=_SECONDS)
    try:
        if settings.smtp_security == "starttls":
            server.starttls(context=ssl.create_default_context())  # raises where the server cannot: never in plain text
        if settings.smtp_user is not None:
            server.login(settings.smtp_user, settings.smtp_password.get_secret_value() if settings.smtp_password else "")
    except BaseException:
        server.close()
        raise
    return server


def _message(settings: Settings, to: str, subject: str, text: str) -> EmailMessage:
    if not (is_email(to) and to.isascii() and to.isprintable()):
        raise Refused(f"{to[:80]!r} is no e-mail address")
    if not subject.isprintable() or len(subject) > _LONGEST_SUBJECT:
        raise Refused("a subject is one line")
    message = EmailMessage(policy=SMTP)
    sender = _sender(settings)
    try:
        message["From"] = _address(sender, "Message Broker")
        message["To"] = _address(to)
        message["Subject"] = subject
    except (ValueError, MessageError) as error:
        raise Refused(f"this cannot be written into an e-mail's head: {error}") from error
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # so that nobody's absence notice answers
    message.set_content(text)
    return message


def _sender(settings: Settings) -> str:
    return settings.mail_from or f"messagebroker@{settings.primary_domain}"


def _address(address: str, name: str = "") -> Address:
    user, _, domain = address.rpartition("@")
    return Address(display_name=name, username=user, domain=domain)


def _said(error: object) -> str:
    """What a foreign server says: one line, and not endless."""
    text = error.decode("utf-8", "replace") if isinstance(error, bytes) else str(error)
    return " ".join(text.split())[:200]
