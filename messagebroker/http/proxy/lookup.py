"""GET /api/v1/messages/{id}: asks main, with the proxy's own certificate, naming the client whose message it must be."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import falcon
import httpx
import msgspec
import structlog

from messagebroker.http.later import DEFER, Deferred, Reply
from messagebroker.http.openapi import Operation
from messagebroker.http.problems import DAMAGED, PREFIX, Problem
from messagebroker.http.proxy.patience import Patience
from messagebroker.ops import ids
from messagebroker.settings import Settings

PATH = "/api/v1/messages/{message_id}"
MessageId = Annotated[str, msgspec.Meta(min_length=36, max_length=36, extra_json_schema={"format": "uuid"})]
_TIMEOUT = httpx.Timeout(5.0, connect=1.0)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25

log = structlog.get_logger(__name__)


class FoundMessage(msgspec.Struct, kw_only=True):
    """A message, opened. Further members may be there."""

    message_id: str
    client_id: str
    topic: str
    status: str
    body: Any = None
    sender: str | None = None
    metadata: dict[str, Any] | None = None


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
        parameters = {"client": client, "body": "true" if body else "false"}
        try:
            with self._main() as main:
                return main.get(f"{self._url}/api/v1/messages/{message_id}", params=parameters)
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


class StoredMessage:
    """A client's own message."""

    operations: ClassVar = (
        Operation(
            "GET",
            PATH,
            "Read one of your messages",
            responses={200: FoundMessage, 404: None},
            path_types={"message_id": MessageId},
            tag="messages",
            description="404 `not-stored-yet` with Retry-After while the message is queued.",
        ),
    )

    def __init__(self, lookup: Lookup, patience: Patience) -> None:
        self._lookup = lookup
        self._patience = patience

    def on_get(self, request: falcon.Request, response: falcon.Response, message_id: str) -> None:
        """Main checks whose message it is, and opens it."""
        parsed = ids.parse(message_id)
        if parsed is None:
            raise Problem(404, "not-found", "there is no such message: message_id is not a UUID", field="message_id")
        client = request.context.peer.name
        if self._patience.run(lambda: self._found(ids.text(parsed), client), request, request.env[DEFER]()):
            raise Deferred
        raise Problem(503, "overloaded", "too many requests wait for main; try again shortly", headers={"Retry-After": "1"})

    def _found(self, message_id: str, client: str) -> Reply:
        answer = self._lookup.ask(message_id, client)
        if answer.status_code != 200:
            raise _passed_on(answer)
        return falcon.HTTP_200, [("Content-Type", "application/json"), ("Cache-Control", "no-store")], answer.content


def _passed_on(answer: httpx.Response) -> Problem:
    """Main's problem in the proxy's name. What is between main and the proxy is none of the client's business."""
    retry_after = answer.headers.get("Retry-After")
    headers = {"Retry-After": retry_after} if retry_after else None
    if answer.status_code in (404, 410):
        try:
            document = answer.json()
            name = str(document["type"]).removeprefix(PREFIX)
            return Problem(answer.status_code, name, str(document["detail"]), headers=headers)
        except (ValueError, KeyError, TypeError):
            return Problem(404, "not-found", "there is no such message", headers=headers)
    if answer.status_code == 500 and PREFIX + DAMAGED in answer.text:  # "try again" would never help
        log.error("main cannot open a message", answer=answer.text[:300])
        detail = "this message is stored, but cannot be opened any more; tell the operator of this system"
        return Problem(500, DAMAGED, detail)
    log.warning("main refused a lookup", status=answer.status_code, answer=answer.text[:300])
    detail = "stored messages cannot be read at this moment; submitting goes on"
    return Problem(503, "main-unavailable", detail, headers=headers or {"Retry-After": "2"})
