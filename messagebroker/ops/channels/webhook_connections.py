"""Kept connections to receivers, each to an address that was checked: this module never sees a name resolved."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from messagebroker.ops.channels import webhook_config
from messagebroker.ops.channels.channel import ANSWER_BYTES
from messagebroker.ops.channels.webhook_answer import Answer
from messagebroker.ops.destinations import Destination

MOST_IDLE_OF_ONE = 8
IDLE_SECONDS = 30.0
_STALE_TRIES = 2
_MOST_REMEMBERED = 4096

_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_FOR_GOOD = (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)  # an other address would not help


class Progress:
    """How far an attempt has come, for who has to say where it ended."""

    def __init__(self) -> None:
        self.phase = "resolving the name"
        self.is_reused = False  # the connection was there before
        self.answer: Answer | None = None


class Connector(aiohttp.TCPConnector):
    """Keeps at most MOST_IDLE connections that nobody uses; those of a webhook that was removed end after IDLE_SECONDS."""

    def __init__(self) -> None:
        super().__init__(limit=0, keepalive_timeout=IDLE_SECONDS)  # how many are in use is the caller's decision

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if len(self._conns.get(key, ())) >= MOST_IDLE_OF_ONE or self.idle >= webhook_config.MOST_IDLE:
            should_close = True
        super()._release(key, protocol, should_close=should_close)

    @property
    def idle(self) -> int:
        """Connections that nobody uses."""
        return sum(map(len, self._conns.values()))


class Connections:
    """Of one event loop."""

    def __init__(self) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_connected)
        trace.on_connection_reuseconn.append(_reused)
        self._session = aiohttp.ClientSession(
            connector=Connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # nobody here unpacks what a stranger packed
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the attempt has one deadline for everything
            read_bufsize=ANSWER_BYTES,
            trace_configs=[trace],
        )
        self._answering: dict[str, str] = {}  # host -> the address that connected last

    async def post(
        self,
        to: Destination,
        addresses: Sequence[str],
        context: ssl.SSLContext | None,
        body: bytes,
        headers: dict[str, str],
        *,
        progress: Progress,
        deadline: float,
    ) -> Answer:
        """Sends to the first of the addresses that can be connected to.

        Args:
            to: what the addresses stand for; its name is what the certificate must be good for.
            addresses: checked ones.
            context: for https.
            body: as it is sent.
            headers: all of them, Host too.
            progress: told how far it is.
            deadline: `time.monotonic()` at which the caller ends this. Connecting leaves time for further addresses.

        Raises:
            aiohttp.ClientError: there is no answer, or none that is HTTP.
        """
        last = self._answering.get(to.host)
        ordered = sorted(addresses, key=lambda address: address != last)
        for number, address in enumerate(ordered, start=1):
            patience = (deadline - time.monotonic()) / 2 if number < len(ordered) else None
            try:
                answer = await self._sent(to, address, context, body, headers, progress, patience)
            except _NOT_CONNECTED as error:
                if number == len(ordered) or isinstance(error, _FOR_GOOD):
                    raise
                continue
            if address != last and len(addresses) > 1:
                self._remember(to.host, address)
            return answer
        raise ValueError("no address")

    async def close(self) -> None:
        """Ends all connections."""
        await self._session.close()

    async def _sent(
        self,
        to: Destination,
        address: str,
        context: ssl.SSLContext | None,
        body: bytes,
        headers: dict[str, str],
        progress: Progress,
        patience: float | None,
    ) -> Answer:
        """To this address. A kept connection that the receiver ended just now costs another try, unseen."""
        place = f"[{address}]" if ":" in address else address
        url = URL(f"{to.scheme}://{place}:{to.port}{to.target}", encoded=True)
        for stale in range(_STALE_TRIES + 1):
            progress.phase, progress.is_reused = f"connecting to {address}", False
            try:
                return await self._asked(url, to, context, body, headers, progress, patience)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                is_stale = progress.is_reused and progress.answer is None and not isinstance(error, _NOT_CONNECTED)
                if not is_stale or stale == _STALE_TRIES:
                    raise
        raise AssertionError("unreachable")

    async def _asked(
        self,
        url: URL,
        to: Destination,
        context: ssl.SSLContext | None,
        body: bytes,
        headers: dict[str, str],
        progress: Progress,
        patience: float | None,
    ) -> Answer:
        response = await self._session.post(
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            ssl=context if context is not None else True,
            server_hostname=to.host.rstrip(".") if context is not None else None,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=patience),
            trace_request_ctx=progress,
        )
        progress.phase = "reading the answer"
        answer = progress.answer = Answer(response.status, response.headers)
        try:
            while len(answer.body) < ANSWER_BYTES and (piece := await response.content.read(ANSWER_BYTES - len(answer.body))):
                answer.body += piece
        except (aiohttp.ClientError, OSError):
            return answer  # the status is there; what is missing is for people alone
        finally:
            if not response.content.at_eof():
                response.close()  # the rest is not wanted, however long it is
        return answer

    def _remember(self, host: str, address: str) -> None:
        if len(self._answering) >= _MOST_REMEMBERED:
            self._answering.clear()
        self._answering[host] = address


async def _connected(session: aiohttp.ClientSession, context: SimpleNamespace, event: Any) -> None:
    context.trace_request_ctx.phase = "waiting for the answer"


async def _reused(session: aiohttp.ClientSession, context: SimpleNamespace, event: Any) -> None:
    context.trace_request_ctx.phase, context.trace_request_ctx.is_reused = "waiting for the answer", True
