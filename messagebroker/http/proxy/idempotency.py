"""Idempotency keys: who claimed one, and what the first answer was. Redis never sees the key itself, nor the request.

A claim is `C` and a token of the process that made it; it lasts 30 seconds. The same MULTI that enqueues the messages
replaces it by `D` and an Entry, from which the first answer is made again. When Redis was lost the table's unique key is
the second line: a later copy is not stored, its id becomes an alias of the first.
"""

from __future__ import annotations

import hmac
import itertools
import os
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from messagebroker.http.problems import Problem
from messagebroker.http.proxy.admission import Durability
from messagebroker.http.proxy.draw import PREFIX_BYTES
from messagebroker.ops.redis_client import NAMESPACE, idempotency_key

CLAIM_MILLISECONDS = 30_000
_CLAIM_BYTES = 21
_BATCH_ITEM = re.compile(r"(.+)#(0|[1-9][0-9]{0,4})")  # only as a batch counts: `k#1` and `k#01` are two keys
_PURPOSE = b"messagebroker idempotency 1"

REMEMBER = """
for queue in string.gmatch(ARGV[2], '[^,]+') do
    redis.call('llen', ARGV[1] .. ':' .. queue)
    redis.call('hlen', ARGV[1] .. ':' .. queue .. '.msgs')
    redis.call('hincrby', ARGV[1] .. ':depth', queue, 0)
end
for i = 3, #ARGV, 3 do
    redis.call('set', ARGV[i], ARGV[i + 1], 'EX', ARGV[i + 2])
end
return 1
"""
"""A MULTI goes on after an error, and an answer must not be kept when its messages were not enqueued: on what makes
`enqueue` fail (keys of a wrong type), this fails too, before it keeps anything."""


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """What is kept of a request that was taken."""

    digest: bytes  # HMAC of the request
    prefix: bytes  # of the ids, see draw.Draw
    accepted_at: int
    durability: Durability
    topic: str | None  # of a single message: the default may have changed since
    answer: bytes | None = None  # the whole first answer, where it cannot be made again from the rest


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Claim:
    """A request's hold on a key."""

    __slots__ = ("client", "digest", "redis_key", "table_key", "token", "ttl", "value")

    def __init__(self, redis_key: str, table_key: tuple[bytes, int], digest: bytes, token: bytes) -> None:
        self.redis_key = redis_key
        self.table_key = table_key
        self.digest = digest
        self.token = token
        self.ttl = 0  # seconds; set with the value
        self.value = b""  # replaces the claim when the messages are enqueued


class Idempotency:
    """Makes claims and reads what Redis answers to them.

    Args:
        secret: the key that all proxies share; another one is derived from it.
        seconds: how long an answer is remembered while Redis has room.
    """

    def __init__(self, secret: bytes, seconds: int) -> None:
        self._secret = hmac.digest(secret, _PURPOSE, "sha256")
        self._seconds = seconds
        self._process = os.urandom(12)
        self._numbers = itertools.count()

    def claim(self, client: str, key: str, request: bytes, *, batch: bool) -> Claim:
        """The claim of a request; `request` is everything of it that matters.

        Item i of a batch has the key `KEY#i`, so that sending it again by itself under that key is a repetition too.
        """
        item = 0
        named = _BATCH_ITEM.fullmatch(key)
        base = key
        if not batch and named:
            base, item = named.group(1), int(named.group(2)) + 1
        elif batch:
            item = 1
        redis_hash = self._hash(b"key", client, key)
        table_hash = redis_hash if base == key else self._hash(b"key", client, base)
        digest = hmac.digest(self._secret, request, "sha256")[:16]
        token = b"C" + self._process + next(self._numbers).to_bytes(8, "big")
        return Claim(idempotency_key(client, redis_hash), (table_hash, item), digest, token)

    def keep(self, claim: Claim, entry: Entry, memory_used: float) -> None:
        """Says what is to be kept, and for how long: keys must not fill the memory that the queue needs.

        With Redis half full new answers are kept for minutes only; the table goes on remembering the key.
        """
        claim.value = b"D" + _encode(entry)
        claim.ttl = self._seconds if memory_used < 0.5 else min(self._seconds, 300)

    def is_ours(self, token: bytes) -> bool:
        """Whether it is a claim that this process made."""
        return token[:1] == b"C" and token[1:13] == self._process

    def _hash(self, purpose: bytes, client: str, key: str) -> bytes:
        return hmac.digest(self._secret, b"%s\0%s\0%s" % (purpose, client.encode(), key.encode()), "sha256")[:16]


def remember(queues: Iterable[str], claims: list[Claim]) -> list[Any]:
    """The command, for the MULTI that enqueues to these queues, which puts the answers in place of the claims."""
    kept = [part for claim in claims for part in (claim.redis_key, claim.value, claim.ttl)]
    return ["EVAL", REMEMBER, 0, NAMESPACE, ",".join(queues), *kept]


def first_answer(value: bytes, claim: Claim) -> Entry | None:
    """The entry under a key that was used before.

    None when it cannot be read (damaged in Redis, or of another version): then the request is like a new one, and the
    table's unique key sees to it that nothing is stored twice.

    Raises:
        Problem: the key is in use at this moment, or it belongs to another request.
    """
    if value[:1] == b"C" and len(value) == _CLAIM_BYTES:
        raise in_use()
    entry = _read(value[1:]) if value[:1] == b"D" else None
    if entry is None:
        return None
    if not hmac.compare_digest(entry.digest, claim.digest):
        detail = "this Idempotency-Key was used for another request; take a new key for a new request"
        raise Problem(422, "idempotency-key-reused", detail, field="Idempotency-Key")
    return entry


def _read(value: bytes) -> Entry | None:
    try:
        entry = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return entry if len(entry.prefix) == PREFIX_BYTES and entry.accepted_at > 0 else None


def in_use() -> Problem:
    """The 409 while the first request with this key is under way."""
    detail = "a request with this Idempotency-Key is under way; repeat it in a moment to get its answer"
    return Problem(409, "idempotency-key-in-use", detail, field="Idempotency-Key", headers={"Retry-After": "1"})
