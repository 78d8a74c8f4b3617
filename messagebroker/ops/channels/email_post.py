"""Handing e-mails to the SMTP server from one thread, many over one connection."""

from __future__ import annotations

import smtplib
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage

from messagebroker.ops import smtp
from messagebroker.settings import Settings

IDLE_SECONDS = 20.0
"""After which a connection is not used again: servers drop such ones without a word."""
MAILS_PER_CONNECTION = 100
"""Servers end connections that bring more."""


@dataclass(frozen=True)
class Answer:
    """How the server took one e-mail: `code` of its last answer, and who was refused, with code and words."""

    code: int
    said: str
    refused: dict[str, tuple[int, str]]


class NotNow(Exception):
    """The server cannot be used; another try may succeed. The message is for people."""


class Post:
    """One connection, opened when there is something to send. Only `abort` may be called by other threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._place = smtp.place(settings)
        self._server: smtplib.SMTP | None = None
        self._waiting: smtplib.SMTP | None = None
        self._used_at = 0.0
        self._mails = 0

    def send(self, message: EmailMessage, to: Sequence[str], *, wait_for_all: bool) -> Answer:
        """Hands over one e-mail.

        Args:
            message: what is sent.
            to: who gets it.
            wait_for_all: when one of them is refused for now only, nobody gets it.

        Raises:
            NotNow: there is no connection, or it ended: whether the server has the e-mail may then be unknown.
        """
        server, is_new = self._connected()
        try:
            try:
                return self._dialogue(server, message, to, wait_for_all)
            except _Stale:
                if is_new:
                    raise NotNow(f"{self._place} ended the connection") from None
                self.close()
                return self._dialogue(self._connected()[0], message, to, wait_for_all)
        except _Stale:
            self.close()
            raise NotNow(f"{self._place} ended the connection") from None
        except (OSError, smtplib.SMTPException) as error:
            self.close()
            raise NotNow(f"{self._place} did not finish: {smtp.said(error) or type(error).__name__}") from error

    def _connected(self) -> tuple[smtplib.SMTP, bool]:
        too_old = time.monotonic() - self._used_at > IDLE_SECONDS or self._mails >= MAILS_PER_CONNECTION
        if self._server is not None and too_old:
            self.close()
        if self._server is not None:
            return self._server, False
        if self._settings.smtp_host is None:
            raise NotNow("SMTP_HOST is not set, so no e-mail can be sent")
        try:
            self._server = smtp.connect(self._settings, self._waits)
        except ssl.SSLCertVerificationError as error:
            raise NotNow(f"{self._place} shows a certificate that does not verify: {error.verify_message}") from error
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
            raise NotNow(
                f"{self._place} refuses us: {smtp.said(error)}; correct SMTP_USER, SMTP_PASSWORD or SMTP_SECURITY"
            ) from error
        except (OSError, smtplib.SMTPException) as error:
            raise NotNow(f"{self._place} does not answer: {smtp.said(error) or type(error).__name__}") from error
        self._mails = 0
        return self._server, True

    def _dialogue(self, server: smtplib.SMTP, message: EmailMessage, to: Sequence[str], wait_for_all: bool) -> Answer:
        content = message.as_bytes()
        self._used_at = time.monotonic()
        self._mails += 1
        code, said = self._begin(server, len(content))
        if code != 250:
            return self._ended(server, Answer(code, said, {}))
        refused: dict[str, tuple[int, str]] = {}
        for address in to:
            code, words = server.rcpt(address)
            if code == 421:
                return self._ended(server, Answer(code, smtp.said(words), refused))
            if code not in (250, 251):
                refused[address] = (code, smtp.said(words))
        nobody = len(refused) == len(to)
        if nobody or (wait_for_all and any(number < 500 for number, _ in refused.values())):
            number, said = min(refused.values())
            return self._ended(server, Answer(number, said, refused))
        try:
            code, words = server.data(content)
        except smtplib.SMTPDataError as error:  # not even begun
            return self._ended(server, Answer(error.smtp_code, smtp.said(error.smtp_error), refused))
        self._used_at = time.monotonic()
        answer = Answer(code, smtp.said(words), refused)
        return answer if code == 250 else self._ended(server, answer)

    def _begin(self, server: smtplib.SMTP, size: int) -> tuple[int, str]:
        """MAIL FROM. A kept connection that has ended meanwhile shows here, before anything was handed over."""
        try:
            server.ehlo_or_helo_if_needed()
            options = [f"size={size}"] if server.has_extn("size") else []
            code, words = server.mail(smtp.sender(self._settings), options)
        except (smtplib.SMTPServerDisconnected, ConnectionError) as error:
            raise _Stale from error
        if code == 421:
            raise _Stale
        return code, smtp.said(words)

    def _ended(self, server: smtplib.SMTP, answer: Answer) -> Answer:
        """The connection ready for the next e-mail, or closed."""
        if answer.code == 421:
            self.close()
            return answer
        try:
            server.rset()
        except (OSError, smtplib.SMTPException):
            self.close()
        return answer

    def close(self) -> None:
        """Ends the connection, without waiting for the server."""
        server, self._server = self._server, None
        if server is not None:
            with suppress(OSError, smtplib.SMTPException):
                if server.sock is not None:
                    server.sock.settimeout(0.5)
                    server.quit()
            server.close()

    def abort(self) -> None:
        """Breaks off what the thread waits for; its call ends with NotNow."""
        if self._waiting is not None:
            smtp.break_off(self._waiting)

    def _waits(self, server: smtplib.SMTP) -> None:
        self._waiting = server


class _Stale(Exception):
    """A connection ended before it was given anything."""
