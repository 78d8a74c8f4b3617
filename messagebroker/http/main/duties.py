"""What main does beside answering: keeps the published policy true, and runs the jobs of the `ops` queue."""

from __future__ import annotations

import threading
import time

import redis as redis_py
import structlog

from messagebroker.actors import ops
from messagebroker.actors.broker import setup_broker
from messagebroker.actors.follower import Follower
from messagebroker.actors.queue_worker import QueueWorker
from messagebroker.errors import BrokerError
from messagebroker.ops import breaker_events, certificates, policy
from messagebroker.ops.certificate_warnings import CertificateWarnings
from messagebroker.ops.subscription_notices import NoticeMails
from messagebroker.roles import BY_NAME
from messagebroker.settings import Settings

POLICY_SECONDS = 5.0
REGISTER_SECONDS = 60.0
SUBSCRIPTION_SECONDS = 10.0
FIRST_WARNING_SECONDS = 5.0
WARNING_SECONDS = 600.0
JOBS_SECONDS = BY_NAME["main"].stop_seconds - 4.0  # from main's stop on; the rest is for what ends afterwards
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


class CertificateWatch:
    """Tells of certificates that end soon, in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._warnings = CertificateWarnings(settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificate-watch", daemon=True)

    def start(self) -> None:
        """Looks for the first time after a short while."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what it has not told, the next one tells."""
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        pause = FIRST_WARNING_SECONDS
        while not self._stop.wait(pause):
            pause = WARNING_SECONDS
            try:
                self._warnings.round()
            except BrokerError as error:
                _log.warning("certificates that end soon cannot be looked for", error=str(error))
            except Exception as error:  # noqa: BLE001 (the next round may succeed)
                _log.error("certificates that end soon cannot be looked for", exc_info=error)


class SubscriptionWatch:
    """Mails what owners of subscriptions are to know, and counts destinations that fail, in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._mails = NoticeMails(settings)
        self._stop = threading.Event()
        self._told: str | None = None
        self._thread = threading.Thread(target=self._run, name="subscription-watch", daemon=True)

    def start(self) -> None:
        """Looks for the first time after a short while."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what it has not sent, the next one sends."""
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stop.wait(SUBSCRIPTION_SECONDS):
            try:
                breaker_events.count_open()
                self._mails.round()
                self._told = None
            except BrokerError as error:
                if self._told != str(error):
                    _log.warning("subscriptions that fail cannot be looked for", error=str(error))
                self._told = str(error)
            except Exception as error:  # noqa: BLE001 (the next round may succeed)
                _log.error("subscriptions that fail cannot be looked for", exc_info=error)


class Jobs:
    """The worker for the `ops` queue: backups and cleanup run here, beside the keys they need.

    It stops with the HTTP server, at the same time: one after the other they could take longer than main has.
    """

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        ops.setup(settings)
        self._worker = QueueWorker(setup_broker(settings), {"ops"}, threads=1)
        self._follower = Follower()
        self._stop = stop
        self._closing = threading.Event()  # the server ended by itself
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._stop_with_main, name="jobs-stop", daemon=True)

    def start(self) -> None:
        """Takes jobs from now on, until main is told to stop."""
        self._follower.start()  # before the first job is taken: the queue may rest
        self._worker.start()
        self._thread.start()

    def close(self) -> None:
        """After the server: waits for what is left of a job's time; one that takes longer is run again by the next main."""
        self._closing.set()
        self._follower.stop()
        self._stopping.wait()
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        if self._thread.is_alive():
            _log.error("a job did not stop in time; it runs again")

    def _stop_with_main(self) -> None:
        while not (self._stop.wait(1.0) or self._closing.is_set()):
            continue
        self._deadline = time.monotonic() + JOBS_SECONDS
        self._stopping.set()
        self._worker.stop(int(JOBS_SECONDS * 1000))
