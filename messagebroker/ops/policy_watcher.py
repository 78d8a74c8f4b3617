"""The policy in force in this process: compared with Redis by number four times a second, kept on disk."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import redis as redis_py
import structlog
from cryptography import x509

from messagebroker.errors import BrokerError, Refused
from messagebroker.ops import clock, pki
from messagebroker.ops.identity import Peer
from messagebroker.ops.metrics import POLICY_AGE, POLICY_NUMBER, POLICY_REFUSED
from messagebroker.ops.private_files import read_secret, write_public
from messagebroker.ops.redis_client import POLICY, connect
from messagebroker.ops.redis_client import POLICY_NUMBER as NUMBER_KEY
from messagebroker.ops.snapshot import Policy, verify
from messagebroker.settings import Settings

POLL_SECONDS = 0.25
_log = structlog.get_logger("messagebroker.policy")


class _Kept(msgspec.Struct, frozen=True):
    """The file on disk: the signed snapshot, and the serials that earlier snapshots had revoked."""

    snapshot: bytes
    revoked: frozenset[str]


class PolicyWatcher:
    """Follows the published policy in a thread.

    Never goes back: a lower number, a bad signature or a missing snapshot changes nothing, is logged and counted, and is
    no check either, so that `is_fresh` ends. A serial once seen as revoked stays revoked here, whatever is published
    later: a policy that was rebuilt from an old backup cannot take it back.

    Args:
        settings: for the CA's certificate, the data directory and Redis.
        redis: a client to use; None makes one.
        name: of the file in the data directory: `policy-NAME.json`.
    """

    def __init__(self, settings: Settings, redis: redis_py.Redis | None = None, *, name: str) -> None:
        self.current: Policy | None = None
        self.checked_at = -math.inf  # time.monotonic() of the last comparison that succeeded
        self._ca_path = settings.path(settings.certs_dir) / "ca.crt"
        self._ca: x509.Certificate | None = None
        self._redis = redis or connect(settings)
        self._owns_redis = redis is None
        self._path = settings.path(Path(f"policy-{name}.json"))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._told: str | None = None  # the trouble that is logged already

    def start(self) -> None:
        """Takes the policy from disk, asks Redis once, then goes on in a thread.

        Raises:
            ConfigurationError: the CA's certificate is not there.
        """
        self._ca = pki.load_certificate(read_secret(self._ca_path))
        self._load()
        POLICY_AGE.set_function(lambda: time.monotonic() - self.checked_at)
        self.poll()
        self._thread = threading.Thread(target=self._run, name="policy-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; the policy stays readable and grows stale."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        if self._owns_redis:
            self._redis.close()

    def is_fresh(self, seconds: float = 5.0) -> bool:
        """Whether there is a policy that was compared with the published one in the last `seconds`."""
        return self.current is not None and time.monotonic() - self.checked_at <= seconds

    def refusal(self, peer: Peer) -> str | None:
        """Why this peer may not speak just now, None when it may.

        One of: revoked, expired, unknown-client, disabled. Without any policy everybody is unknown.
        """
        policy = self.current
        if policy is None:
            return "unknown-client"
        if peer.serial in policy.revoked:
            return "revoked"
        if peer.not_after <= clock.now():
            return "expired"
        if peer.kind == "component":
            return None
        client = policy.clients.get(peer.name)
        if client is None:
            return "unknown-client"
        return "disabled" if client.disabled else None

    def poll(self) -> None:
        """One comparison with Redis; trouble is logged once and counted."""
        try:
            self._compare()
        except (redis_py.RedisError, OSError) as error:
            self._tell("policy cannot be compared: Redis does not answer", error)
        except BrokerError as error:
            POLICY_REFUSED.inc()
            self._tell("policy refused", error)
        else:
            if self._told is not None:
                _log.info("policy is compared again")
            self._told = None

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                self.poll()
            except Exception as error:  # noqa: BLE001 (the thread must go on: the next comparison may succeed)
                _log.error("policy comparison failed", exc_info=error)

    def _compare(self) -> None:
        asked_at = time.monotonic()  # the answer is at least as new as this
        number = _number(self._redis.get(NUMBER_KEY))
        if self.current is None or number != self.current.number:
            snapshot = self._redis.get(POLICY)
            if not isinstance(snapshot, bytes):
                raise Refused("no policy is published; start the main server, which publishes it")
            self._take(snapshot)
        self.checked_at = asked_at

    def _take(self, snapshot: bytes) -> None:
        before = self.current
        known = before.revoked if before else frozenset()
        policy = self._verified(snapshot, known)
        if before is not None and policy.number < before.number:
            raise Refused(f"policy {policy.number} is older than {before.number}, which is in force")
        if before is None or policy.number > before.number:
            self._enforce(replace(policy, revoked=policy.revoked | known))
            self._keep(_Kept(snapshot, known - policy.revoked), policy.number)
            _log.info("policy in force", number=policy.number, clients=len(policy.clients), revoked=len(policy.revoked))

    def _enforce(self, policy: Policy) -> None:
        self.current = policy
        POLICY_NUMBER.set(policy.number)

    def _load(self) -> None:
        kept = self._kept()
        if kept is not None:
            self._enforce(kept)

    def _kept(self) -> Policy | None:
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
            policy = self._verified(kept.snapshot, kept.revoked)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, Refused) as error:
            POLICY_REFUSED.inc()
            _log.warning("policy on disk refused", path=str(self._path), error=str(error))
            return None
        return replace(policy, revoked=policy.revoked | kept.revoked)

    def _keep(self, kept: _Kept, number: int) -> None:
        on_disk = self._kept()  # perhaps of another process of this role that is ahead
        if on_disk is not None and on_disk.number >= number:
            return
        try:
            write_public(self._path, msgspec.json.encode(kept), overwrite=True)
        except OSError as error:
            _log.error("policy cannot be kept on disk", path=str(self._path), error=str(error))

    def _verified(self, snapshot: bytes, revoked: frozenset[str]) -> Policy:
        assert self._ca is not None, "start() loads the CA's certificate"
        return verify(snapshot, self._ca, revoked=revoked)

    def _tell(self, event: str, error: Exception) -> None:
        if self._told != str(error):
            _log.warning(event, error=str(error))
            self._told = str(error)


def _number(value: object) -> int:
    try:
        return int(value) if isinstance(value, bytes) else 0
    except ValueError as error:
        raise Refused(f"the published policy number is no number: {value!r:.40}") from error
