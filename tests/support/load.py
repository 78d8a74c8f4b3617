"""Senders that submit with the client's normal retries, and keep the ids that were acknowledged."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from support.containers import Project, until
from support.installation import ClientFiles

from messagebroker.client import ClientError, MessageBroker, Retry

PAUSE_SECONDS = 0.05


class Load:
    """`with Load(project, files) as load:` two senders for each URL; afterwards `accepted` and `failed` are complete.

    Args:
        urls: the proxies, by default the first one.
        retry: how patient the senders are, by default as the client is.
        size: of each message at least, in bytes.
    """

    def __init__(
        self, project: Project, files: ClientFiles, *urls: str, senders: int = 2, retry: Retry | None = None, size: int = 0
    ) -> None:
        self.project, self.files, self.retry, self.size = project, files, retry or Retry(), size
        self.accepted: list[str] = []
        self.failed: list[str] = []
        self.slowest = 0.0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(url, f"{number}"))
            for url in urls or (project.url("proxy"),)
            for number in range(senders)
        ]

    def __enter__(self) -> Self:
        self._wait_until_known()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)

    def wait_for(self, more: int, seconds: float = 30.0) -> None:
        """Until so many more messages were acknowledged."""
        wanted = len(self.accepted) + more
        until(
            lambda: len(self.accepted) >= wanted,
            seconds,
            lambda: f"{len(self.accepted)} of {wanted}; failed: {self.failed[-3:]}",
        )

    def require_stored(self, seconds: float = 60.0) -> None:
        """Everything that was acknowledged is in the database, and nothing waits.

        Raises:
            AssertionError: something is missing after `seconds`.
        """
        assert self.accepted, "nothing was acknowledged, so that nothing was tested"
        missing = {self._column(one) for one in self.accepted}
        deadline = time.monotonic() + seconds
        while missing:
            missing -= {row[0] for row in self.project.sql("SELECT LOWER(HEX(id)) FROM messages")}
            assert not missing or time.monotonic() < deadline, (
                f"{len(missing)} of {len(self.accepted)} are lost: {sorted(missing)[:3]}"
            )
            time.sleep(0.5)

    @staticmethod
    def _column(message_id: str) -> str:
        return message_id.replace("-", "")

    def _send(self, url: str, name: str) -> None:
        with MessageBroker(url, ca=self.files.ca, cert=self.files.cert, key=self.files.key, retry=self.retry) as broker:
            count = 0
            while not self._stop.is_set():
                count += 1
                began = time.monotonic()
                try:
                    self.accepted.append(broker.submit(f"{name}/{count}".ljust(self.size, ".")).message_id)
                except ClientError as error:
                    self.failed.append(f"{url}: {error}")
                self.slowest = max(self.slowest, time.monotonic() - began)
                self._stop.wait(PAUSE_SECONDS)

    def _wait_until_known(self) -> None:
        def known() -> bool:
            try:
                with MessageBroker(
                    self.project.url("proxy"), ca=self.files.ca, cert=self.files.cert, key=self.files.key
                ) as broker:
                    return bool(broker.whoami())
            except ClientError:
                return False

        until(known, 10.0)
