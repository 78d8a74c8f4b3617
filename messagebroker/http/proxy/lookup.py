"""Asks main, with the proxy's own certificate, naming the client whose messages it must be about."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import structlog

from messagebroker.http.problems import Problem
from messagebroker.settings import Settings

_TIMEOUT = httpx.Timeout(5.0, connect=1.0)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25

log = structlog.get_logger(__name__)


class Lookup:
    """A client of main's API.

    Args:
        settings: main's address, and the proxy's certificate.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.url_of("main")
        folder = settings.path(settings.certs_dir)
        self._files = (folder / "ca.crt", folder / "proxy.crt", folder / "proxy.key")
        self._lock = threading.Lock()
        self._newest: _Shared | None = None

    def ask(self, message_id: str, client: str, *, body: bool = True) -> httpx.Response:
        """Main's answer, whatever its status.

        Raises:
            Problem: main does not answer.
        """
        return self.get(f"/{message_id}", {"client": client, "body": "true" if body else "false"})

    def get(self, path: str, parameters: dict[str, str]) -> httpx.Response:
        """Main's answer about `/api/v1/messages` and what is below it, whatever its status.

        Raises:
            Problem: main does not answer.
        """
        try:
            with self._main() as main:
                return main.get(f"{self._url}/api/v1/messages{path}", params=parameters)
        except (httpx.HTTPError, OSError) as error:
            log.warning("main does not answer", error=repr(error))
            detail = "stored messages cannot be read at this moment; submitting goes on"
            raise Problem(503, "main-unavailable", detail, headers={"Retry-After": "2"}) from error

    def post(self, path: str, document: dict[str, str]) -> httpx.Response:
        """Main's answer to a JSON document, whatever its status.

        Raises:
            Problem: main does not answer.
        """
        try:
            with self._main() as main:
                return main.post(f"{self._url}{path}", json=document)
        except (httpx.HTTPError, OSError) as error:
            log.warning("main does not answer", error=repr(error))
            raise Problem(
                503, "main-unavailable", "main does not answer at this moment", headers={"Retry-After": "2"}
            ) from error

    def wait(self, message_id: str, client: str, seconds: float) -> str | None:
        """The status of the message once it is stored; None when it was not in time."""
        try:
            ends_at = time.monotonic() + seconds
            pause = _FIRST_PAUSE
            while time.monotonic() + pause < ends_at:
                time.sleep(pause)
                answer = self.ask(message_id, client, body=False)
                if answer.status_code == 200:
                    return str(answer.json()["status"])
                pause = min(pause * 2, _LONGEST_PAUSE)
        except (Problem, ValueError, KeyError, TypeError, RuntimeError):  # no answer of main's, or no client any more
            return None  # the message is accepted all the same: a 202 says so
        return None

    def close(self) -> None:
        """Ends its connections."""
        if self._newest is not None:
            self._newest.client.close()

    @contextmanager
    def _main(self) -> Iterator[httpx.Client]:
        """The client in use; a new one after the certificate was renewed. The old one ends with its last request."""
        changed = tuple(path.stat().st_mtime_ns for path in self._files)
        with self._lock:
            replaced = None
            if self._newest is None or changed != self._newest.made_of:
                replaced, self._newest = self._newest, _Shared(_connecting(*self._files), changed)
            shared = self._newest
            shared.holders += 1
        try:
            if replaced is not None:
                self._let_go(replaced)
            yield shared.client
        finally:
            self._let_go(shared)

    def _let_go(self, shared: _Shared) -> None:
        with self._lock:
            shared.holders -= 1
            is_last = not shared.holders
        if is_last:
            shared.client.close()


@dataclass
class _Shared:
    """A client, and how many hold it: the lookup itself while it is the newest, and every request that uses it."""

    client: httpx.Client
    made_of: tuple[int, ...]
    holders: int = 1


def _connecting(ca: Path, certificate: Path, key: Path) -> httpx.Client:
    return httpx.Client(verify=_context(ca, certificate, key), timeout=_TIMEOUT, trust_env=False)


def _context(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(certificate, key)
    return context
