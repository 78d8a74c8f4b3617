"""Slows down whoever guesses passwords and codes, and locks nobody out for ever.

Delays grow by 1, 2, 4 … seconds to 15 minutes with every failure after the first few, and failures are forgotten with time.
They are counted for an account from one address, for the account from all addresses, and for the address. An attempt during
a delay is refused unseen and does not prolong it. All processes count together in Redis; without it each counts by itself.

Whoever guesses at every chance keeps an account shut, so there are ways in that strangers cannot shut: who is known at their
address is judged by their own failures there alone, a password reset by e-mail makes them known, and a one-time password that
was drawn is judged without the account. Guessing stays bounded: see `docs/security.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

from messagebroker.ops.addresses import group_of
from messagebroker.ops.limits import Shared
from messagebroker.ops.redis_client import NAMESPACE
from messagebroker.ops.throttle import Throttle

LONGEST_SECONDS = 900


@dataclass(frozen=True)
class _Scope:
    free: int  # failures without a delay
    decay: int  # seconds after which one failure is forgotten


PAIR, ACCOUNT, ADDRESS = "pair", "account", "address"
_SCOPES = {PAIR: _Scope(4, 600), ACCOUNT: _Scope(9, 600), ADDRESS: _Scope(49, 30)}

_BEGIN = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait = 0
for _, key in ipairs(KEYS) do
  local till = tonumber(redis.call('HGET', key, 'till') or '0')
  if till - now > wait then wait = till - now end
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do
  local free, decay = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i]) * 1000
  local found = redis.call('HMGET', key, 'failures', 'at')
  local failures, at = tonumber(found[1] or '0'), tonumber(found[2] or now)
  failures = math.max(0, failures - math.floor((now - at) / decay)) + 1
  if failures > free + 11 then failures = free + 11 end
  local delay = 0
  if failures > free then delay = math.min({LONGEST_SECONDS}, 2 ^ (failures - free - 1)) * 1000 end
  redis.call('HSET', key, 'failures', failures, 'at', now, 'till', string.format('%.0f', now + delay))
  redis.call('PEXPIRE', key, delay + decay * failures)
end
return 0
"""
"""Counts an attempt as failed before it is made, so that a hundred at once are not all the first. Milliseconds to wait."""

_FORGIVE = """
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then
    if redis.call('HINCRBY', key, 'failures', -1) < 1 then redis.call('DEL', key) else redis.call('HSET', key, 'till', '0') end
  end
end
return 1
"""


class Lockout:
    """Counts for one purpose.

    Args:
        shared: where all processes count.
        purpose: what is guessed, such as `login`.
        scopes: by what strangers are judged.
        is_known: whether an account was used from an address before: judged by the pair alone.
    """

    def __init__(
        self,
        shared: Shared,
        purpose: str,
        *,
        scopes: Collection[str] = tuple(_SCOPES),
        is_known: Callable[[str, str], bool] | None = None,
    ) -> None:
        self._shared = shared
        self._purpose = purpose
        self._scopes = tuple(scopes)
        self._is_known = is_known
        failures_and_seconds = {PAIR: (5, 300), ACCOUNT: (20, 900), ADDRESS: (50, 300)}
        self._here = {scope: Throttle(*failures_and_seconds[scope]) for scope in _SCOPES}

    def begin(self, account: str, address: str) -> float:
        """Seconds to wait; 0: the attempt may be made, and counts as failed until it is said to be something else."""
        names = _names(account, address)
        scopes = self._judging(names[ACCOUNT], address)
        numbers = [number for scope in scopes for number in (_SCOPES[scope].free, _SCOPES[scope].decay)]
        wait = self._shared.run("EVAL", _BEGIN, len(scopes), *(self._key(scope, names) for scope in scopes), *numbers)
        if wait is not None:
            return int(wait) / 1000
        return max(self._here[scope].wait_seconds(names[scope]) for scope in scopes)

    def failed(self, account: str, address: str) -> None:
        """The attempt failed: for the time when Redis is away; there it is counted already."""
        for scope, name in _names(account, address).items():
            self._here[scope].failed(name)

    def forgiven(self, account: str, address: str) -> None:
        """The attempt was no guess."""
        names = _names(account, address)
        scopes = self._judging(names[ACCOUNT], address)
        self._shared.run("EVAL", _FORGIVE, len(scopes), *(self._key(scope, names) for scope in scopes))

    def succeeded(self, account: str, address: str) -> None:
        """It was right: this account's failures from this address are forgotten."""
        self.forgiven(account, address)
        self._forget(account, address, PAIR)

    def clear(self, account: str, address: str) -> None:
        """Forgets what was guessed for an account from everywhere: its owner showed otherwise who they are, from there."""
        self._forget(account, address, PAIR, ACCOUNT)

    def _forget(self, account: str, address: str, *scopes: str) -> None:
        names = _names(account, address)
        self._shared.run("DEL", *(self._key(scope, names) for scope in scopes))
        for scope in scopes:
            self._here[scope].succeeded(names[scope])

    def _judging(self, account: str, address: str) -> tuple[str, ...]:
        return (PAIR,) if self._is_known is not None and self._is_known(account, address) else self._scopes

    def _key(self, scope: str, names: dict[str, str]) -> str:
        hashed = hashlib.sha256(names[scope].encode("utf-8", "surrogatepass")).hexdigest()[:32]  # it may be a password
        return f"{NAMESPACE}:lockout:{self._purpose}:{scope}:{hashed}"


def _names(account: str, address: str) -> dict[str, str]:
    account, address = account.strip().lower(), group_of(address)
    return {PAIR: f"{account} {address}", ACCOUNT: account, ADDRESS: address}
