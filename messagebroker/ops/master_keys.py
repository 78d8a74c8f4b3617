"""Master keys over time: a new one in front, data keys sealed anew to it, retired ones destroyed when nobody needs them.

Callers have opened the database. Everything goes on meanwhile: a proxy seals to the new key from the next published policy on,
and what was sealed to an old one is opened with the old one, which stays in the ring.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from messagebroker.db import resealing
from messagebroker.db.connection import connected, database
from messagebroker.db.writing import give_up_connection
from messagebroker.errors import BrokerError, Refused, Unavailable
from messagebroker.ops import audit, clock, key_needs, keyring, policy
from messagebroker.ops.audit import Actor
from messagebroker.ops.key_needs import Need
from messagebroker.ops.keyring import SUITE, KeyRing, purpose_of
from messagebroker.ops.records import SealedKey
from messagebroker.ops.redis_client import connect, redis_answers
from messagebroker.settings import Settings

SETTLING = timedelta(minutes=1)
"""How long after a rotation a proxy may still send what it has sealed to the key before."""
_BATCH = 200
_ATTEMPTS = 5
_log = structlog.get_logger("messagebroker.keys")

Progress = Callable[[int, int], object]
"""Called as (data keys done, data keys in all)."""


class KeyState(msgspec.Struct, kw_only=True):
    """One master key."""

    id: str
    created_at: str
    state: str  # "current", "retired", or "missing": data keys name it, and it is not in encryption.key
    data_keys: int


class Rotated(msgspec.Struct, kw_only=True):
    """What a rotation did."""

    current: str
    retired: list[str]
    is_new: bool
    resealed: int
    damaged: list[str]  # data keys that do not open; they stay as they are
    remaining: int  # under retired keys: calls that waited in Redis may bring some any time


def status(settings: Settings) -> list[KeyState]:
    """Every master key that is here or missing, the newest first."""
    entries = keyring.entries(settings)
    with connected():
        rows = resealing.count_by_master_key()
    found = [
        KeyState(
            id=entry.id,
            created_at=entry.created_at.isoformat(timespec="seconds"),
            state="retired" if place else "current",
            data_keys=rows.get(bytes.fromhex(entry.id), 0),
        )
        for place, entry in enumerate(entries)
    ]
    lost = key_needs.missing(entries)
    return found + [KeyState(id=key, created_at="", state="missing", data_keys=number) for key, number in lost.items()]


def rotate(
    settings: Settings,
    actor: Actor,
    *,
    resume: bool = False,
    progress: Progress = lambda done, total: None,
    stop: threading.Event | None = None,
) -> Rotated:
    """Puts a new master key in front, tells the proxies, and seals every data key to it.

    Args:
        settings: main's.
        actor: for the audit log.
        resume: no new key; goes on with what an interrupted rotation left, or with what came late.
        progress: is told how far it is.
        stop: ends it after the batch in hand.

    Raises:
        Unavailable: the database or Redis does not answer. What was done stays done: `resume` goes on.
        Refused: `resume` without a retired key.
    """
    with connected():
        resealing.count_by_master_key()  # nothing is begun that cannot go on
    _require_redis(settings)
    before = keyring.entries(settings)
    if resume and len(before) == 1:
        raise Refused("there is no retired master key whose rotation could go on; leave --resume out to make a new key")
    if not resume:
        made = keyring.create_master_key(settings).hex()
        audit.record_by(actor, "keys.rotate", "master_key", made, {"retired": [entry.id for entry in before]})
    policy.publish_if_changed(settings)
    ring = KeyRing.load(settings)
    current, *retired = (key_id for key_id, _ in ring.keys)
    work = _Resealing(ring, progress, stop or threading.Event())
    try:
        for master in retired:
            work.move(master)
    finally:
        give_up_connection()
    with connected():
        rows = resealing.count_by_master_key()
    details = {"resealed": work.done, "damaged": len(work.damaged)}
    audit.record_by(actor, "keys.reseal", "master_key", current.hex(), details)
    return Rotated(
        current=current.hex(),
        retired=[master.hex() for master in retired],
        is_new=not resume,
        resealed=work.done,
        damaged=work.damaged,
        remaining=sum(rows.get(master, 0) for master in retired),
    )


def needs(settings: Settings) -> list[Need]:
    """Who still needs a retired master key."""
    return key_needs.of_retired(settings, keyring.entries(settings)[1:])


def destroy(settings: Settings, key: str, actor: Actor) -> None:
    """Takes a retired master key out of the ring for good.

    Raises:
        NotFound: there is no such key.
        Refused: it is the current one, the published one, or somebody needs it; says who.
        Unavailable: somebody cannot be asked.
    """
    entries = keyring.entries(settings)
    entry = key_needs.require_known(key, entries)
    if entry == entries[0]:
        raise Refused(f"{key} is the current master key; `messagebroker keys rotate` makes a new one first")
    settled = entries[0].created_at + SETTLING
    if clock.now() < settled:
        raise Refused(f"proxies may have used {key} until a moment ago; try again after {settled:%H:%M:%S} UTC")
    _require_not_published(settings, key)
    if found := key_needs.of_retired(settings, [entry]):
        raise Refused(f"master key {key} is still needed by {'; '.join(map(key_needs.sentence, found))}: {_advice(found)}")
    with connected(), database.atomic():  # no row, no destruction; and the other way round
        audit.record_by(actor, "keys.destroy", "master_key", key, {"created_at": entry.created_at})
        keyring.remove_master_key(settings, key)


def _advice(found: list[Need]) -> str:
    ways = {
        "data keys": "`messagebroker keys rotate --resume` moves data keys",
        "queued calls": "calls go when workers have stored them",
        "failed records": "`messagebroker queue retry --all` stores failed records",
    }
    said = [ways[need.by] for need in found if need.by in ways]
    if any(need.by.startswith("backup ") for need in found):
        said.append("backups go with their retention, or are deleted by you; without the key they are of no use")
    return "; ".join(dict.fromkeys(said))


def _require_redis(settings: Settings) -> None:
    with connect(settings) as client:
        problem = redis_answers(client)
    if problem is not None:
        raise Unavailable(f"the policy with the new key could not be published: {problem}")


def _require_not_published(settings: Settings, key: str) -> None:
    published = policy.published(settings)
    if published is None or published.master_key_id.hex() == key:
        said = "no policy is published" if published is None else f"the published policy still names {key}"
        raise Refused(f"{said}; start main, which publishes the one with the current key")


class _Resealing:
    """Moves data keys to the current master key, batch by batch; repeating it does no harm."""

    def __init__(self, ring: KeyRing, progress: Progress, stop: threading.Event) -> None:
        self._ring, self._progress, self._stop = ring, progress, stop
        self._current, public = ring.current_public
        self._public = X25519PublicKey.from_public_bytes(public)
        self.done = 0
        self.damaged: list[str] = []
        with connected():
            rows = resealing.count_by_master_key()
        self._total = sum(number for key, number in rows.items() if key in dict(ring.keys) and key != self._current)

    def move(self, master: bytes) -> None:
        """All under one retired key, those that come meanwhile too: ids are random, so it goes round until none is new."""
        while self._round(master) and not self._stop.is_set():
            continue

    def _round(self, master: bytes) -> int:
        moved, after = 0, bytes(16)
        while not self._stop.is_set():
            found = resealing.next_keys(master, after, _BATCH)
            if not found:
                break
            rows = [(key_id, new) for key_id, sealed in found if (new := self._sealed_anew(key_id, master, sealed)) is not None]
            moved += self._replaced(rows, master)
            after = found[-1][0]
            self._progress(self.done + moved, max(self._total, self.done + moved))
        self.done += moved
        return moved

    def _sealed_anew(self, key_id: bytes, master: bytes, sealed: bytes) -> bytes | None:
        try:
            data_key = self._ring.open_key(SealedKey(key_id, master, sealed, 0))
        except BrokerError as error:
            if key_id.hex() not in self.damaged:
                self.damaged.append(key_id.hex())
                _log.error("a data key cannot be sealed anew", data_key=key_id.hex(), error=str(error))
            return None
        new = SUITE.encrypt(data_key, self._public, purpose_of(key_id))
        if self._ring.open_key(SealedKey(key_id, self._current, new, 0)) != data_key:
            raise AssertionError("what was sealed does not open")  # the old one would be lost with the messages under it
        return new

    def _replaced(self, rows: list[tuple[bytes, bytes]], master: bytes) -> int:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return resealing.replace(rows, master, self._current)
            except Unavailable:  # an ingest may have locked the same rows in another order
                if attempt == _ATTEMPTS or self._stop.wait(0.1 * attempt):
                    raise
        raise AssertionError("the loop returns or raises")
