"""Who still needs which master key: rows, calls that wait in Redis, records set aside, kept backups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec
import redis as redis_py

from messagebroker.db import resealing
from messagebroker.db.connection import connected
from messagebroker.db.models import PRIORITIES
from messagebroker.errors import NotFound
from messagebroker.ops import backup, failures
from messagebroker.ops.keyring import Entry
from messagebroker.ops.queues import calls_key, dead_calls_key
from messagebroker.ops.records import master_keys_of_call
from messagebroker.ops.redis_client import connect, unavailable
from messagebroker.settings import Settings

_AT_ONCE = 20  # calls; one may have four megabytes
_Needing = Mapping[bytes | None, int]
"""Master key -> how many need it. None: those that cannot be read, and so may need any."""


class Need(msgspec.Struct, kw_only=True):
    """One reason why a retired master key must stay."""

    key: str
    by: str  # "data keys", "failed records", "queued calls" or "backup NAME"
    count: int | None = None  # of them; None: the backup as a whole
    what: str = ""  # where it is not certain: why


def of_retired(settings: Settings, retired: list[Entry]) -> list[Need]:
    """Everybody who needs one of the keys, or may need it.

    Queued calls are looked at first: what is stored meanwhile is found among the rows.

    Raises:
        Unavailable: Redis or the database does not answer, so that nobody can tell.
    """
    found: list[Need] = []
    for by, counted in (("queued calls", _in_redis(settings)), ("failed records", failures.master_keys())):
        found += _needs(by, counted, retired)
    with connected():
        rows = resealing.count_by_master_key()
    found += [Need(key=one.id, by="data keys", count=rows[key]) for one in retired if (key := bytes.fromhex(one.id)) in rows]
    return found + list(_in_backups(settings, retired))


def missing(entries: list[Entry]) -> dict[str, int]:
    """Master keys that data keys name and the ring lacks, with the number of data keys."""
    with connected():
        rows = resealing.count_by_master_key()
    here = {bytes.fromhex(entry.id) for entry in entries}
    return {key.hex(): number for key, number in rows.items() if key not in here}


def _needs(by: str, counted: _Needing, retired: list[Entry]) -> Iterator[Need]:
    for one in retired:
        if number := counted.get(bytes.fromhex(one.id)):
            yield Need(key=one.id, by=by, count=number)
        elif number := counted.get(None):
            yield Need(key=one.id, by=by, count=number, what="cannot be read, so they may need it")


def _in_redis(settings: Settings) -> _Needing:
    found: Counter[bytes | None] = Counter()
    with connect(settings, read_timeout=10) as client:
        try:
            for queue in PRIORITIES:
                for key in (calls_key(queue), dead_calls_key(queue)):
                    for _, call in client.hscan_iter(key, count=_AT_ONCE):
                        found.update(_named(call))
        except redis_py.RedisError as error:
            raise unavailable(client, error, ", so nobody can tell which keys the calls in it need") from error
    return found


def _named(call: bytes) -> set[bytes] | set[None]:
    try:
        return master_keys_of_call(call)
    except msgspec.MsgspecError:
        return {None}


def _in_backups(settings: Settings, retired: list[Entry]) -> Iterator[Need]:
    for one in backup.list_all(settings):
        for entry in retired:
            by = f"backup {one.path.name}"
            if one.manifest is None:
                yield Need(key=entry.id, by=by, what="cannot be read, so it may need it")
            elif one.manifest.master_keys is None:
                if entry.created_at <= one.manifest.created_at:
                    yield Need(key=entry.id, by=by, what="is of a program that did not write down which keys it needs")
            elif entry.id in one.manifest.master_keys:
                yield Need(key=entry.id, by=by)


def sentence(need: Need) -> str:
    """For people."""
    number = "" if need.count is None else f"{need.count:,} "
    return f"{number}{need.by}" + (f" ({need.what})" if need.what else "")


def require_known(key: str, entries: list[Entry]) -> Entry:
    """The entry of that id.

    Raises:
        NotFound: there is none.
    """
    for entry in entries:
        if entry.id == key:
            return entry
    raise NotFound(f"there is no master key {key!r}; `messagebroker keys status` lists them")
