"""A real mail server that keeps what it gets."""

from __future__ import annotations

import asyncio
import ssl
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from support.certs import SERVER, Authority
from support.servers import free_port

from messagebroker.settings import Settings, load


class MailServer:
    """Listens on a free port; `security` as SMTP_SECURITY. With a password it takes mail only from who knows it."""

    def __init__(self, folder: Path, security: str = "none", password: str | None = None) -> None:
        self.taken: list[tuple[str, list[str], bytes]] = []
        self.refuse: str | None = None  # the answer to every e-mail's content
        self.refused: dict[str, str] = {}  # recipient -> answer
        self.connections = 0
        self.port = free_port()
        self.security = security
        self.password = password
        self.ca = folder / "mail" / "ca.crt"
        more: dict[str, Any] = {}
        if security != "none":
            context = _context(folder / "mail")
            more = {"ssl_context": context} if security == "tls" else {"tls_context": context, "require_starttls": True}
        if password is not None:
            more |= {"authenticator": self._check, "auth_required": True, "auth_require_tls": security == "starttls"}
        self._controller = _Controller(self, hostname="localhost", port=self.port, **more)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]) -> list[str]:
        self.connections += not (session.ssl and session.host_name)
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refuse:
            return self.refuse
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 OK"

    def _check(self, server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        right = isinstance(given, LoginPassword) and given.password.decode() == self.password
        return AuthResult(success=right, handled=right)

    @property
    def callers(self) -> int:
        """Connections that were accepted since the start."""
        return self._controller.accepted - 1  # the controller's own, which looks whether it works

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(content, policy=default) for _, _, content in self.taken]  # type: ignore[misc]

    def settings(self, folder: Path, **more: Any) -> Settings:
        given = {
            "smtp_host": "localhost",
            "smtp_port": self.port,
            "smtp_security": self.security,
            "mail_from": "broker@example.org",
        }
        return load({}, data_dir=folder, environment="test", **{**given, **more})


class _Controller(Controller):
    """Its loop ends when the last connection has: aiosmtpd leaves what is open to the garbage, and to the next test."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._open: set[_Connection] = set()
        self.accepted = 0

    def factory(self) -> SMTP:
        self.accepted += 1
        return _Connection(self._open, self.handler, **self.SMTP_kwargs)

    def stop(self, no_assert: bool = False) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(10)
        super().stop(no_assert)

    async def _close(self) -> None:
        assert self.server is not None
        closed = asyncio.ensure_future(self.server.wait_closed())
        await asyncio.sleep(0)  # until 3.12 a server that is closed already is not waited for
        self.server.close()
        for connection in self._open:
            if not connection.transport.is_closing():  # until 3.11.3 one with TLS that was closed twice bears no abort
                connection.transport.abort()
        await closed


class _Connection(SMTP):
    def __init__(self, everybody: set[_Connection], *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._everybody = everybody

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._everybody.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._everybody.discard(self)
        super().connection_lost(error)


def _context(folder: Path) -> ssl.SSLContext:
    """Of a server with a certificate of `folder`'s own CA, `ca.crt`."""
    issued = Authority(folder).issue("mail", uris=[], usages=[SERVER], hosts=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued.both)
    return context
