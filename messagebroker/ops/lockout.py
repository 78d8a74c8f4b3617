"""Slows down whoever guesses passwords and codes, and locks nobody out for ever.

Delays grow by 1, 2, 4 … seconds to 15 minutes with every failure after the first few, and failures are forgotten with time.
They are counted for an account from one address, for the account from all addresses, and for the address. Who has logged in
from their address before is not held up by what others do to their account. An attempt during a delay is refused unseen
and does not prolong it. All processes count together in Redis; without it each counts by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from messagebroker.ops.limits import Shared
from messagebroker.ops.redis_client import NAMESPACE
from messagebroker.ops.throttle import Throttle

LONGEST_SECONDS = 900


@dataclass(frozen=True)
class _Scope:
    free: int  # failures without a delay
    decay: int  # seconds after which one failure is forgotten


_PAIR, _ACCOUNT, _ADDRESS = _Scope(4, 600), _Scope(9, 600), _Scope(49, 30)

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
        is_known: whether an account was used from an address before.
    """

    def __init__(self, shared: Shared, purpose: str, is_known: Callable[[str, str], bool]) -> None:
        self._shared = shared
        self._purpose = purpose
        self._is_known = is_known
        self._pairs_here = Throttle(failures=5, seconds=300)
        self._addresses_here = Throttle(failures=50, seconds=300)

    def begin(self, account: str, address: str) -> float:
        """Seconds to wait; 0: the attempt may be made, and counts as failed until it is said to be something else."""
        account = _normal(account)
        scopes = self._scopes(account, address)
        numbers = [number for scope in scopes.values() for number in (scope.free, scope.decay)]
        wait = self._shared.run("EVAL", _BEGIN, len(scopes), *scopes, *numbers)
        if wait is not None:
            return int(wait) / 1000
        return max(self._pairs_here.wait_seconds(f"{account} {address}"), self._addresses_here.wait_seconds(address))

    def failed(self, account: str, address: str) -> None:
        """The attempt failed: for the time when Redis is away; there it is counted already."""
        self._pairs_here.failed(f"{_normal(account)} {address}")
        self._addresses_here.failed(address)

    def forgiven(self, account: str, address: str) -> None:
        """The attempt was no guess."""
        scopes = self._scopes(_normal(account), address)
        self._shared.run("EVAL", _FORGIVE, len(scopes), *scopes)

    def succeeded(self, account: str, address: str) -> None:
        """It was right: this account's failures from this address are forgotten."""
        account = _normal(account)
        self.forgiven(account, address)
        self._shared.run("DEL", self._key("pair", f"{account} {address}"))
        self._pairs_here.succeeded(f"{account} {address}")

    def clear(self, account: str) -> None:
        """Forgets what was guessed for an account from everywhere: its owner showed otherwise who they are."""
        self._shared.run("DEL", self._key("account", _normal(account)))

    def _scopes(self, account: str, address: str) -> dict[str, _Scope]:
        scopes = {self._key("pair", f"{account} {address}"): _PAIR, self._key("address", address): _ADDRESS}
        if not self._is_known(account, address):
            scopes[self._key("account", account)] = _ACCOUNT
        return scopes

    def _key(self, scope: str, name: str) -> str:
        hashed = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]  # what was typed may be a password
        return f"{NAMESPACE}:lockout:{self._purpose}:{scope}:{hashed}"


def _normal(account: str) -> str:
    return account.strip().lower()
