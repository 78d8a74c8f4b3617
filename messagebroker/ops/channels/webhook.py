"""Deliveries to HTTP receivers, signed as the Standard Webhooks specification has it."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from collections.abc import Sequence

import aiohttp
import msgspec

from messagebroker.errors import ConfigurationError, Unavailable
from messagebroker.ops.channels.channel import Outcome, Work
from messagebroker.ops.channels.webhook_answer import judged
from messagebroker.ops.channels.webhook_config import WebhookConfig, WebhookSecrets
from messagebroker.ops.channels.webhook_connections import Connections, Progress
from messagebroker.ops.channels.webhook_request import Request, request
from messagebroker.ops.channels.webhook_tls import Contexts
from messagebroker.ops.destinations import Destination, Forbidden, Guard, destination
from messagebroker.settings import Settings

_LONGEST_TEXT = 500
_WORDS = {
    number: words
    for name, words in {
        "ECONNREFUSED": "refused",
        "ECONNRESET": "reset",
        "ECONNABORTED": "reset",
        "EPIPE": "reset",
        "ENETUNREACH": "no route",
        "EHOSTUNREACH": "no route",
        "ETIMEDOUT": "no answer",
    }.items()
    for prefix in ("", "WSA")  # Windows has numbers of its own, and texts in its own language
    if (number := getattr(errno, prefix + name, None)) is not None
}
_WORDS_OF_WINDOWS = {121: "no answer", 1231: "no route", 1232: "no route"}
"""Numbers of Windows for what its event loop begins: overlapped calls do not fail with those of sockets."""


class Webhook:
    """The channel `webhook`. Belongs to the event loop that makes the first delivery."""

    name = "webhook"
    config: type[msgspec.Struct] = WebhookConfig
    secrets: type[msgspec.Struct] | None = WebhookSecrets
    at_once = 8
    merges = 1

    def __init__(self, settings: Settings, *, guard: Guard | None = None) -> None:
        self._guard = guard or Guard(settings)
        self._contexts = Contexts()
        self._connections: Connections | None = None

    async def deliver(self, works: Sequence[Work]) -> Sequence[Outcome]:
        """Tries each once."""
        if len(works) == 1:
            return [await self._tried(works[0])]
        return await asyncio.gather(*map(self._tried, works))

    async def close(self) -> None:
        """Ends all connections."""
        self._guard.close()
        if self._connections is not None:
            await self._connections.close()

    async def _tried(self, work: Work) -> Outcome:
        config: WebhookConfig = work.target.config
        progress = Progress()
        to = destination(config.url)
        sent = request(work, to.authority)
        try:
            async with asyncio.timeout(config.timeout):
                await self._post(work, to, sent, progress, time.monotonic() + config.timeout)
            error, is_final = "", False
        except TimeoutError:
            error, is_final = f"no answer from {to.authority} within {config.timeout:g} s: {progress.phase}", False
        except (ConfigurationError, Forbidden, Unavailable) as problem:
            error, is_final = str(problem), problem.permanent
        except (aiohttp.ClientError, OSError) as problem:
            error, is_final = _told(problem, to), False
        if progress.answer is not None:  # its head came: that is the receiver's word, whatever became of the rest
            return judged(progress.answer, sent.shown, time.time())
        return Outcome(kind="failed" if is_final else "retry", error=_line(error), request=sent.shown)

    async def _post(self, work: Work, to: Destination, sent: Request, progress: Progress, deadline: float) -> None:
        addresses = await self._guard.addresses(to)
        context = None
        if to.scheme == "https":
            context = await self._contexts.of(work.target.config, work.target.secrets or WebhookSecrets())
        if self._connections is None:
            self._connections = Connections()
        await self._connections.post(to, addresses, context, sent.body, sent.headers, progress=progress, deadline=deadline)


def _told(problem: Exception, to: Destination) -> str:
    """What happened, without what varies from one attempt to the next."""
    place = to.authority
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        cause = problem.certificate_error
        reason = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(cause)
        return f"the certificate of {place} does not verify: {reason}"
    if isinstance(problem, aiohttp.ClientConnectorSSLError):
        return f"no TLS with {place}: {_reason(problem.os_error)}"
    if isinstance(problem, aiohttp.ClientConnectorError):
        return f"no connection to {place}: {_reason(problem.os_error)}"
    if isinstance(problem, aiohttp.ServerDisconnectedError):
        return f"{place} closed the connection without an answer"
    if isinstance(problem, aiohttp.ClientResponseError):
        return f"the answer of {place} is no HTTP"  # the library cites it: it may hold what was sent, and this is kept unsealed
    return f"the connection to {place} broke: {_reason(problem)}"


def _reason(problem: BaseException) -> str:
    if isinstance(problem, ssl.SSLError):
        return (problem.reason or str(problem)).replace("_", " ").lower()
    for found in (problem, problem.__cause__):  # aiohttp's own, and what it was made of
        if isinstance(found, ConnectionError):  # the kind: Windows has several numbers of each
            return "refused" if isinstance(found, ConnectionRefusedError) else "reset"
        words = _WORDS_OF_WINDOWS.get(getattr(found, "winerror", None) or 0) or _WORDS.get(getattr(found, "errno", None) or 0)
        if words:
            return words
    return getattr(problem, "strerror", None) or str(problem) or type(problem).__name__


def _line(text: str) -> str:
    """One line of printable characters: parts of it come from strangers."""
    words = "".join(c if c.isprintable() else " " for c in text[: 2 * _LONGEST_TEXT]).split()
    return " ".join(words)[:_LONGEST_TEXT]
