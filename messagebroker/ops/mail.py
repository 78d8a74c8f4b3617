"""E-mail through the organisation's SMTP server: plain text, one recipient at a time."""

from __future__ import annotations

import smtplib
import ssl
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from messagebroker.errors import ConfigurationError, Refused, Unavailable
from messagebroker.ops import clock, smtp
from messagebroker.settings import Settings

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
    place = smtp.place(settings)
    try:
        with smtp.connect(settings) as server:
            server.send_message(message, from_addr=smtp.sender(settings), to_addrs=[to])
    except smtplib.SMTPRecipientsRefused as error:
        code, reason = next(iter(error.recipients.values()))
        if 400 <= code < 500:
            raise Unavailable(f"{place} takes no mail for this recipient now: {smtp.said(reason)}") from error
        raise Refused(f"{place} will not have this recipient: {smtp.said(reason)}") from error
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError, smtplib.SMTPSenderRefused) as error:
        raise ConfigurationError(
            f"{place} refuses us: {smtp.said(error)}; correct SMTP_USER, SMTP_PASSWORD, SMTP_SECURITY or MAIL_FROM"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(f"{place} shows a certificate that does not verify: {error.verify_message}") from error
    except smtplib.SMTPResponseException as error:
        kind = Unavailable if error.smtp_code < 500 else Refused
        raise kind(f"{place} answered {error.smtp_code}: {smtp.said(error.smtp_error)}") from error
    except (OSError, smtplib.SMTPException) as error:
        raise Unavailable(f"{place} does not answer: {smtp.said(error)}") from error


def _message(settings: Settings, to: str, subject: str, text: str) -> EmailMessage:
    if not smtp.is_recipient(to):
        raise Refused(f"{to[:80]!r} is no e-mail address")
    if not subject.isprintable() or len(subject) > _LONGEST_SUBJECT:
        raise Refused("a subject is one line")
    message = EmailMessage(policy=SMTP)
    sender = smtp.sender(settings)
    try:
        message["From"] = smtp.header_address(sender, "Message Broker")
        message["To"] = smtp.header_address(to)
        message["Subject"] = subject
    except (ValueError, MessageError) as error:
        raise Refused(f"this cannot be written into an e-mail's head: {error}") from error
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # so that nobody's absence notice answers
    message.set_content(text)
    return message
