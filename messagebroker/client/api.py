"""The clients for main's API: for threads and for asyncio."""

from __future__ import annotations

from typing import Any

from messagebroker.client import api_calls
from messagebroker.client.answers import AuditPage, IssuedCertificate, Message, MessagePage, Person, QueueStats, Token
from messagebroker.client.api_calls import Caller
from messagebroker.client.renewal import OF_COMPONENTS
from messagebroker.client.transport import AsyncTransport, Transport

NOBODY = Caller()


class ApiClient(Transport):
    """Main's API, for threads. `caller` says on whose behalf a call is made."""

    def login(self, email: str, password: str, code: str | None = None, *, caller: Caller = NOBODY) -> Token:
        """Exchanges an e-mail address, a password and a second factor's code, if there is one, for a token."""
        return self.run(api_calls.login(caller, email, password, code))

    def refresh(self, refresh_token: str, *, caller: Caller = NOBODY) -> Token:
        """Exchanges a refresh token, which is used up with that, for a new token."""
        return self.run(api_calls.refresh(caller, refresh_token))

    def logout(self, caller: Caller) -> None:
        """Ends the session of the caller's token."""
        return self.run(api_calls.logout(caller))

    def forgotten(self, email: str, *, caller: Caller = NOBODY) -> None:
        """Asks for a code by e-mail with which a new password can be set."""
        return self.run(api_calls.forgotten(caller, email))

    def reset_password(self, code: str, new: str, *, caller: Caller = NOBODY) -> None:
        """Sets a new password with a code from an e-mail."""
        return self.run(api_calls.reset_password(caller, code, new))

    def change_password(self, caller: Caller, current: str, new: str) -> Token:
        """Sets a new password; ends every other token of the person."""
        return self.run(api_calls.change_password(caller, current, new))

    def me(self, caller: Caller) -> Person:
        """Whom the token belongs to."""
        return self.run(api_calls.me(caller))

    def messages(self, caller: Caller, **filters: str | int | None) -> MessagePage:
        """A part of the list, newest first: `status`, `client`, `topic`, `cursor`, `limit`, `order`."""
        return self.run(api_calls.messages(caller, filters))

    def message(self, caller: Caller, message_id: str, *, body: bool = False) -> Message:
        """One message; with `body`, opened, which main records."""
        return self.run(api_calls.message(caller, message_id, body=body))

    def queue_stats(self, caller: Caller) -> QueueStats:
        """The depth of the queues."""
        return self.run(api_calls.queue_stats(caller))

    def audit(self, caller: Caller, **filters: str | int | None) -> AuditPage:
        """A part of the audit log, newest first."""
        return self.run(api_calls.audit(caller, filters))

    def renew_component_certificate(self, *, only_when_due: bool = False) -> IssuedCertificate | None:
        """For a role of the system that shows its own certificate: a new one in its place; None when that is not due."""
        return self.renewed(OF_COMPONENTS, only_when_due=only_when_due)

    def health(self, path: str = "/health") -> dict[str, Any]:
        """Whether main answers; needs no token."""
        return self.run(api_calls.health(path))


class AsyncApiClient(AsyncTransport):
    """Main's API, for asyncio. `caller` says on whose behalf a call is made."""

    async def login(self, email: str, password: str, code: str | None = None, *, caller: Caller = NOBODY) -> Token:
        """Exchanges an e-mail address, a password and a second factor's code, if there is one, for a token."""
        return await self.run(api_calls.login(caller, email, password, code))

    async def refresh(self, refresh_token: str, *, caller: Caller = NOBODY) -> Token:
        """Exchanges a refresh token, which is used up with that, for a new token."""
        return await self.run(api_calls.refresh(caller, refresh_token))

    async def logout(self, caller: Caller) -> None:
        """Ends the session of the caller's token."""
        return await self.run(api_calls.logout(caller))

    async def forgotten(self, email: str, *, caller: Caller = NOBODY) -> None:
        """Asks for a code by e-mail with which a new password can be set."""
        return await self.run(api_calls.forgotten(caller, email))

    async def reset_password(self, code: str, new: str, *, caller: Caller = NOBODY) -> None:
        """Sets a new password with a code from an e-mail."""
        return await self.run(api_calls.reset_password(caller, code, new))

    async def change_password(self, caller: Caller, current: str, new: str) -> Token:
        """Sets a new password; ends every other token of the person."""
        return await self.run(api_calls.change_password(caller, current, new))

    async def me(self, caller: Caller) -> Person:
        """Whom the token belongs to."""
        return await self.run(api_calls.me(caller))

    async def messages(self, caller: Caller, **filters: str | int | None) -> MessagePage:
        """A part of the list, newest first: `status`, `client`, `topic`, `cursor`, `limit`, `order`."""
        return await self.run(api_calls.messages(caller, filters))

    async def message(self, caller: Caller, message_id: str, *, body: bool = False) -> Message:
        """One message; with `body`, opened, which main records."""
        return await self.run(api_calls.message(caller, message_id, body=body))

    async def queue_stats(self, caller: Caller) -> QueueStats:
        """The depth of the queues."""
        return await self.run(api_calls.queue_stats(caller))

    async def audit(self, caller: Caller, **filters: str | int | None) -> AuditPage:
        """A part of the audit log, newest first."""
        return await self.run(api_calls.audit(caller, filters))

    async def renew_component_certificate(self, *, only_when_due: bool = False) -> IssuedCertificate | None:
        """For a role of the system that shows its own certificate: a new one in its place; None when that is not due."""
        return await self.renewed(OF_COMPONENTS, only_when_due=only_when_due)

    async def health(self, path: str = "/health") -> dict[str, Any]:
        """Whether main answers; needs no token."""
        return await self.run(api_calls.health(path))
