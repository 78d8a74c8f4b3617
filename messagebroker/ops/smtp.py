"""The organisation's SMTP server: how it is reached, who we are to it, and how what it says is told."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from email.headerregistry import Address
from typing import Any

from messagebroker.ops.names import is_email
from messagebroker.settings import Settings

SECONDS = 15.0
"""For each answer of the server."""
Watch = Callable[[smtplib.SMTP], None]


class _Watched:
    """Tells, before it waits for an answer, that it will: from then on another thread may break that off."""

    def __init__(self, watch: Watch, **given: Any) -> None:
        self._watch = watch
        super().__init__(**given)

    def getreply(self) -> tuple[int, bytes]:
        """The server's next answer."""
        self._watch(self)  # type: ignore[arg-type]
        return super().getreply()  # type: ignore[misc,no-any-return]


class _Plain(_Watched, smtplib.SMTP):
    pass


class _Encrypted(_Watched, smtplib.SMTP_SSL):
    pass


def connect(settings: Settings, watch: Watch = lambda _: None) -> smtplib.SMTP:
    """A connection, encrypted and logged in as the settings have it; SMTP_HOST is set.

    Args:
        settings: of the installation.
        watch: is given the connection as soon as there is a socket, for `break_off`.

    Raises:
        OSError, smtplib.SMTPException: whatever went wrong; the connection is closed then.
    """
    given: dict[str, Any] = {"host": settings.smtp_host or "", "port": settings.smtp_port, "timeout": SECONDS}
    if settings.smtp_security == "tls":
        server: smtplib.SMTP = _Encrypted(watch, **given, context=ssl.create_default_context())
    else:
        server = _Plain(watch, **given)
    try:
        if settings.smtp_security == "starttls":
            server.starttls(context=ssl.create_default_context())  # raises where the server cannot: never in plain text
        if settings.smtp_user is not None:
            server.login(settings.smtp_user, settings.smtp_password.get_secret_value() if settings.smtp_password else "")
    except BaseException:
        server.close()
        raise
    return server


def break_off(server: smtplib.SMTP) -> None:
    """Ends what another thread waits for: an answer that comes byte by byte never runs into a time limit."""
    sock = server.sock
    if sock is not None:
        with suppress(OSError):
            # not SSLSocket's own, which takes the TLS object away under the thread that reads with it
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def place(settings: Settings) -> str:
    """The server, for people."""
    return f"the mail server {settings.smtp_host}:{settings.smtp_port} (SMTP_HOST, SMTP_PORT)"


def sender(settings: Settings) -> str:
    """The address that our e-mails come from."""
    return settings.mail_from or f"messagebroker@{settings.primary_domain}"


def is_recipient(address: str) -> bool:
    """Whether an address stays one line in every header and command."""
    return is_email(address) is not None and address.isascii() and address.isprintable()


def header_address(address: str, name: str = "") -> Address:
    """An address as headers take it."""
    user, _, domain = address.rpartition("@")
    return Address(display_name=name, username=user, domain=domain)


def said(error: object) -> str:
    """What a foreign server says: one line, and not endless."""
    text = error.decode("utf-8", "replace") if isinstance(error, bytes) else str(error)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:200]
