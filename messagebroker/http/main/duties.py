"""What main does beside answering: keeps the published policy true, and runs the jobs of the `ops` queue."""

from __future__ import annotations

import threading
import time

import redis as redis_py
import structlog

from messagebroker.actors import ops
from messagebroker.actors.broker import setup_broker
from messagebroker.actors.queue_worker import QueueWorker
from messagebroker.errors import BrokerError
from messagebroker.ops import certificates, policy
from messagebroker.settings import Settings

POLICY_SECONDS = 5.0
REGISTER_SECONDS = 60.0
_log = structlog.get_logger("messagebroker.main")


class PolicyKeeper:
    """Publishes the policy whenever Redis has lost it or the database says something new, in a thread."""

    def __init__(self, settings: Settings, redis: redis_py.Redis) -> None:
        self._settings = settings
        self._redis = redis
        self._stop = threading.Event()
        self._register_at = float("-inf")
        self._told: str | None = None
        self._thread = threading.Thread(target=self._run, name="policy-keeper", daemon=True)

    def start(self) -> None:
        """The first round happens before this returns, so that proxies that start next find a policy."""
        self.round()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(POLICY_SECONDS)

    def round(self) -> None:
        """Certificates that were issued without the database come into it; then what changed is published."""
        try:
            if time.monotonic() >= self._register_at:
                certificates.register_issued(self._settings)
                self._register_at = time.monotonic() + REGISTER_SECONDS
            policy.publish_if_changed(self._settings, self._redis)
        except BrokerError as error:
            if self._told != str(error):
                _log.warning("the policy is not published", error=str(error))
            self._told = str(error)
        else:
            self._told = None

    def _run(self) -> None:
        while not self._stop.wait(POLICY_SECONDS):
            try:
                self.round()
            except Exception as error:  # noqa: BLE001 (the next round may succeed)
                _log.error("the policy is not published", exc_info=error)


def jobs_worker(settings: Settings) -> QueueWorker:
    """A worker for the `ops` queue, to be started: backups and cleanup run here, beside the keys they need."""
    ops.setup(settings)
    return QueueWorker(setup_broker(settings), {"ops"}, threads=1)
