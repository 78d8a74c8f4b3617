"""Publishing the policy: built from the database, numbered under a lock, signed, set in Redis in one step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import redis as redis_py
import structlog

from messagebroker.db.connection import database
from messagebroker.db.models import PolicyNumber
from messagebroker.errors import BrokerError, Conflict, Refused, Unavailable
from messagebroker.ops import clock, registry
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.keyring import KeyRing
from messagebroker.ops.policy_watcher import PolicyWatcher
from messagebroker.ops.redis_client import POLICY, POLICY_NUMBER, connect, unavailable
from messagebroker.ops.snapshot import ClientPolicy, Policy, sign, verify
from messagebroker.settings import Settings

_ATTEMPTS = 5
_NOT_PUBLISHED = ", so no policy was published"
_log = structlog.get_logger("messagebroker.policy")


def publish(settings: Settings, redis: redis_py.Redis | None = None) -> int:
    """Publishes the policy as the database has it now; the new number, once Redis has acknowledged.

    What the published snapshot revokes stays revoked, and is written back to a database that an older backup brought back.

    Raises:
        Unavailable: the database or Redis does not answer.
        ConfigurationError: the CA or the master key is not on this machine.
    """
    folder = CaFolder(settings)
    with _client(settings, redis) as client, registry.session(settings), database.atomic():
        locked = _locked_number()
        policy = _exchange(client, folder, lambda previous: _built(settings, folder, previous, locked))
        PolicyNumber.update(number=policy.number).where(PolicyNumber.id == 1).execute()
        registry.revoke_all(policy.revoked, "kept from the published policy")
    return policy.number


def publish_if_changed(settings: Settings, redis: redis_py.Redis | None = None) -> int | None:
    """Publishes when Redis or the database lost something, or the database says something new; else None.

    Cheap enough for every few seconds: main calls it, so that proxies come back soon after Redis was lost.
    """
    folder = CaFolder(settings)
    with _client(settings, redis) as client, registry.session(settings):
        number = _number()
        try:
            snapshot, told = client.mget(POLICY, POLICY_NUMBER)
        except redis_py.RedisError as error:
            raise unavailable(client, error, _NOT_PUBLISHED) from error
        previous = _verified(snapshot, folder)
        is_current = (
            previous is not None
            and previous.number >= number
            and told == str(previous.number).encode()
            and previous.content == _built(settings, folder, previous, number).content
            and not registry.valid_among(previous.revoked)
        )
        return None if is_current else publish(settings, client)


@dataclass(frozen=True)
class Told:
    """The number of the policy that the proxies were told, or why they do not know it yet."""

    number: int | None
    note: str | None


def tell(settings: Settings) -> Told:
    """Publishes after a change, once its transaction is over. Main publishes what could not be, as soon as it can."""
    try:
        return Told(publish(settings), None)
    except BrokerError as error:
        return Told(None, f"stored, but the proxies do not know it yet: {error}. Main publishes it as soon as it can")


def publish_revocations(settings: Settings, redis: redis_py.Redis | None = None) -> int:
    """For when the database is down: the published policy once more, with what the CA's folder has revoked since.

    Raises:
        Unavailable: Redis does not answer, or has no policy to build on.
    """
    folder = CaFolder(settings)

    def with_revocations(previous: Policy | None) -> Policy:
        if previous is None:
            raise Unavailable("neither the database nor a published policy is there to build a policy from")
        revoked = previous.revoked | folder.revoked()
        return replace(previous, number=_after(previous.number), issued_at=clock.now(), revoked=revoked)

    # a revoked signer's policy is good enough to keep its revocations, but not to take clients from
    with _client(settings, redis) as client:
        return _exchange(client, folder, with_revocations, distrusted=folder.revoked()).number


def published(settings: Settings) -> Policy | None:
    """The policy in Redis; None where there is none of ours.

    Raises:
        Unavailable: Redis does not answer.
    """
    with connect(settings) as client:
        try:
            (snapshot,) = client.mget(POLICY)
        except redis_py.RedisError as error:
            raise unavailable(client, error) from error
    return _verified(snapshot, CaFolder(settings))


@contextmanager
def _client(settings: Settings, redis: redis_py.Redis | None) -> Iterator[redis_py.Redis]:
    """The caller's client, or one for the block."""
    if redis is not None:
        yield redis
    else:
        with connect(settings) as client:
            yield client


def _exchange(
    client: redis_py.Redis,
    folder: CaFolder,
    build: Callable[[Policy | None], Policy],
    distrusted: frozenset[str] = frozenset(),
) -> Policy:
    """Replaces the published snapshot by one built on it; starts over when somebody else was faster."""
    try:
        with client.pipeline(transaction=True) as pipe:
            for _ in range(_ATTEMPTS):
                pipe.watch(POLICY, POLICY_NUMBER)  # type: ignore[no-untyped-call]
                (snapshot,) = pipe.mget(POLICY)  # GET would fail for ever on a key of a wrong type
                policy = build(_verified(snapshot, folder, distrusted))
                pipe.multi()
                pipe.set(POLICY, sign(policy, folder.signer()))
                pipe.set(POLICY_NUMBER, policy.number)
                try:
                    pipe.execute()
                except redis_py.WatchError:
                    continue
                _log.info("policy published", number=policy.number, clients=len(policy.clients), revoked=len(policy.revoked))
                return policy
    except redis_py.RedisError as error:
        raise unavailable(client, error, _NOT_PUBLISHED) from error
    raise Conflict(f"somebody else published a policy {_ATTEMPTS} times in a row; try again")


def _built(settings: Settings, folder: CaFolder, previous: Policy | None, number: int) -> Policy:
    key_id, public = KeyRing.load(settings).current_public
    before = previous.revoked if previous else frozenset[str]()
    revoked = before | registry.revoked_serials() | folder.revoked()
    return Policy(
        number=_after(max(number, previous.number if previous else 0)),
        issued_at=clock.now(),
        revoked=revoked - registry.expired_among(revoked),  # expired ones are refused anyway
        clients=registry.client_policies(),
        master_key_id=key_id,
        master_public_key=public,
        maintenance=settings.maintenance_mode,
        topics=registry.topic_policies(),
    )


def _after(number: int) -> int:
    """The next number. At least the time in seconds, so that an installation that was rebuilt from an old backup and
    an empty Redis still has a higher number than the proxies, which kept theirs."""
    return max(number + 1, int(time.time()))


def _number() -> int:
    row = PolicyNumber.get_or_none(PolicyNumber.id == 1)
    return int(row.number) if row else 0


def _locked_number() -> int:
    """The number of the last publication, with its row locked until the transaction ends."""
    touch = PolicyNumber.update(number=PolicyNumber.number + 1).where(PolicyNumber.id == 1)  # also locks on SQLite
    if touch.execute() == 0:
        PolicyNumber.insert(id=1, number=0).on_conflict_ignore().execute()
        touch.execute()
    return _number() - 1


def _verified(snapshot: object, folder: CaFolder, distrusted: frozenset[str] = frozenset()) -> Policy | None:
    if not isinstance(snapshot, bytes):
        return None
    try:
        return verify(snapshot, folder.ca.certificate, revoked=distrusted)
    except Refused as error:
        _log.error("what Redis has as policy is not ours and is replaced", error=str(error))
        return None


__all__ = ["ClientPolicy", "Policy", "PolicyWatcher", "Told", "publish", "publish_if_changed", "publish_revocations", "tell"]
