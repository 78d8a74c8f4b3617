"""Sends calls over httpx: retries, problems, renewed certificates. One class for threads, one for asyncio."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from messagebroker.client.answers import IssuedCertificate
from messagebroker.client.calls import Call
from messagebroker.client.errors import Problem, Unreachable
from messagebroker.client.renewal import Renewal, finish, is_due
from messagebroker.client.retry import Retry, Tries
from messagebroker.client.tls import Identity

T = TypeVar("T")
File = Path | str
ExceptionType = type[BaseException] | None
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class _Base:
    """What both transports share."""

    def __init__(
        self,
        url: str,
        *,
        ca: File,
        cert: File | None = None,
        key: File | None = None,
        timeout: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        if cert is not None and key is not None:
            with suppress(OSError):  # whoever renews may write here; others leave it to them
                finish(Path(cert), Path(key))
        self.url = url.rstrip("/")
        self.identity = Identity(ca=ca, cert=cert, key=key)
        self.retry = retry or Retry()
        self.timeout = timeout

    def _options(self) -> dict[str, Any]:
        # trust_env=False: a proxy or a CA file that some environment variable names must not get between
        return {"base_url": self.url, "verify": self.identity.context, "timeout": self.timeout, "trust_env": False}

    def _request(self, call: Call[Any]) -> dict[str, Any]:
        self.identity.refresh()
        return {
            "method": call.method,
            "url": call.path,
            "params": call.params or None,
            "headers": call.headers,
            "content": call.content,
            "timeout": httpx.USE_CLIENT_DEFAULT if call.timeout is None else call.timeout,
        }

    def _pause_after_error(self, call: Call[Any], tries: Tries, error: httpx.TransportError) -> float:
        not_sent = isinstance(error, NOT_SENT)
        pause = tries.pause() if not_sent or call.repeatable else None
        if pause is None:
            what = "cannot reach" if not_sent else "no whole answer from"
            detail = f"{what} {self.url} ({tries.failed or 1} tries): {error or type(error).__name__}"
            outcome = "not-sent" if not_sent else "unknown"
            raise Unreachable(detail, outcome=outcome, idempotency_key=call.idempotency_key) from error
        return pause

    @staticmethod
    def _pause_after_problem(call: Call[Any], tries: Tries, problem: Problem) -> float:
        pause = tries.pause(problem.retry_after) if call.may_retry(problem) else None
        if pause is None:
            raise problem
        return pause


class Transport(_Base):
    """For threads; any number of them may share one."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.http = httpx.Client(**self._options())
        self._retired: list[httpx.Client] = []

    def run(self, call: Call[T]) -> T:
        """The answer to `call`.

        Raises:
            Problem: the system answered with an error.
            Unreachable: it did not answer.
        """
        tries = self.retry.begin()
        while True:
            try:
                response = self.http.request(**self._request(call))
            except httpx.TransportError as error:
                pause = self._pause_after_error(call, tries, error)
            else:
                problem = call.failure(response)
                if problem is None:
                    return call.read(response)
                pause = self._pause_after_problem(call, tries, problem)
            time.sleep(pause)

    def renewed(self, path: str, *, only_when_due: bool) -> IssuedCertificate | None:
        """Renews the certificate at `path`; None when that is not due yet. See `client.renewal`."""
        pair = self.identity.pair
        if only_when_due and pair is not None and not is_due(pair[0]):
            return None
        renewal = Renewal.begin(self.identity, path)
        issued = self.run(renewal.call)
        renewal.store(issued)
        self._retired.append(self.http)  # other threads may be using it
        self.http = httpx.Client(**self._options())
        return issued

    def close(self) -> None:
        """Closes the connections."""
        for client in (*self._retired, self.http):
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: ExceptionType, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class AsyncTransport(_Base):
    """For one event loop."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.http = httpx.AsyncClient(**self._options())
        self._retired: list[httpx.AsyncClient] = []

    async def run(self, call: Call[T]) -> T:
        """The answer to `call`.

        Raises:
            Problem: the system answered with an error.
            Unreachable: it did not answer.
        """
        tries = self.retry.begin()
        while True:
            try:
                response = await self.http.request(**self._request(call))
            except httpx.TransportError as error:
                pause = self._pause_after_error(call, tries, error)
            else:
                problem = call.failure(response)
                if problem is None:
                    return call.read(response)
                pause = self._pause_after_problem(call, tries, problem)
            await asyncio.sleep(pause)

    async def renewed(self, path: str, *, only_when_due: bool) -> IssuedCertificate | None:
        """Renews the certificate at `path`; None when that is not due yet. See `client.renewal`."""
        pair = self.identity.pair
        if only_when_due and pair is not None and not is_due(pair[0]):
            return None
        renewal = Renewal.begin(self.identity, path)
        issued = await self.run(renewal.call)
        renewal.store(issued)
        self._retired.append(self.http)  # other tasks may be using it
        self.http = httpx.AsyncClient(**self._options())
        return issued

    async def close(self) -> None:
        """Closes the connections."""
        for client in (*self._retired, self.http):
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: ExceptionType, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
