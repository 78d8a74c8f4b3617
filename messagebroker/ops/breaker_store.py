"""Breakers in Redis: a hash of those that are not as good as none, each replaced as a whole, and which of them changed when."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import redis as redis_py

from messagebroker.ops.breaker_state import Entry, decoded
from messagebroker.ops.redis_client import NAMESPACE

ENTRIES = f"{NAMESPACE}:breakers"  # hash: subscription -> entry
CHANGED = f"{NAMESPACE}:breakers:changed"  # sorted set: subscription -> number of its last change
NUMBER = f"{NAMESPACE}:breakers:number"  # of the last change
EPOCH = f"{NAMESPACE}:breakers:epoch"  # another one: Redis was emptied in between
_KEYS = (ENTRIES, CHANGED, NUMBER, EPOCH)

LOOK = """
local epoch, made = redis.call('GET', KEYS[4]), 0
if not epoch then
  epoch, made = ARGV[3], 1
  redis.call('SET', KEYS[4], epoch)
end
local number = redis.call('GET', KEYS[3]) or '0'
local seen = ARGV[1] == epoch and tonumber(ARGV[2]) <= tonumber(number) and ARGV[2] or '0'
local changed = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. seen, '+inf')
local found = {}
for at, id in ipairs(changed) do found[at] = redis.call('HGET', KEYS[1], id) or '' end
local now = redis.call('TIME')
return {epoch, made, number, now[1], now[2], changed, found}
"""
"""ARGV: the epoch and number that the caller knows, and an epoch for a Redis that has none. What has changed since then."""

SWAP = """
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return {-1, ''} end
local present = redis.call('HGET', KEYS[1], ARGV[2]) or ''
if present ~= ARGV[3] then return {0, present} end
if ARGV[4] == '' then redis.call('HDEL', KEYS[1], ARGV[2]) else redis.call('HSET', KEYS[1], ARGV[2], ARGV[4]) end
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[2])
return {1, ''}
"""
"""ARGV: epoch, subscription, what the caller thinks is there, what is to be there."""

REMOVE = """
if redis.call('EXISTS', KEYS[4]) == 0 then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[1])
"""
"""ARGV: subscription. An emptied Redis is left to the first worker, who fills it."""


class Emptied(Exception):
    """Redis is not the one that was looked at: look again."""


@dataclass(frozen=True)
class News:
    """What `look` found."""

    is_new: bool  # another epoch than before: only what is in `changed` is there at all
    is_empty: bool  # and this process was the first to come
    changed: dict[int, bytes]


class BreakerStore:
    """One process' view. Every method raises redis.RedisError when Redis does not answer."""

    def __init__(self, redis: redis_py.Redis) -> None:
        self._redis: Any = redis  # redis-py types no raw commands
        self._epoch = b""
        self._number = b"0"
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Redis' time in seconds since 1970, as far as this process knows; goes on evenly while Redis is away."""
        return time.monotonic() + self._offset

    def look(self) -> News:
        """What others changed since the last look, in one round trip."""
        made = secrets.token_hex(8)
        epoch, is_empty, number, seconds, micros, ids, entries = self._redis.execute_command(
            "EVAL", LOOK, len(_KEYS), *_KEYS, self._epoch, self._number, made
        )
        try:
            changed = dict(zip(map(int, ids), entries, strict=True))
            is_new = epoch != self._epoch or int(number) < int(self._number)  # the second: Redis came back from an older file
        except ValueError as error:
            raise redis_py.RedisError(f"{CHANGED} or {NUMBER} holds what this program did not write; remove it") from error
        self._epoch, self._number = epoch, number
        self._offset = int(seconds) + int(micros) / 1_000_000 - time.monotonic()
        return News(is_new, bool(is_empty), changed)

    def swap(self, subscription_id: int, known: bytes, wanted: bytes) -> bytes | None:
        """Puts `wanted` in the place of `known` (empty: nothing). None when done; else what is there instead.

        Raises:
            Emptied: since the last look.
        """
        code, present = self._redis.execute_command(
            "EVAL", SWAP, len(_KEYS), *_KEYS, self._epoch, subscription_id, known, wanted
        )
        if code < 0:
            raise Emptied
        return None if code else bytes(present)

    def remove(self, subscription_id: int) -> None:
        """Closes a breaker, whatever it is."""
        self._redis.execute_command("EVAL", REMOVE, len(_KEYS), *_KEYS, subscription_id)

    def read(self, subscription_ids: Iterable[int]) -> dict[int, Entry]:
        """For people: those of them that are not as good as none."""
        asked = list(subscription_ids)
        found = self._redis.hmget(ENTRIES, asked) if asked else []
        return {number: decoded(data) for number, data in zip(asked, found, strict=True) if data}
