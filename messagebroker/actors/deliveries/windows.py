"""How much may be under way: in all, and for each destination, which earns its share by answering."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from messagebroker.ops import descriptors
from messagebroker.ops.channels.webhook_config import MOST_IDLE

FIRST_WINDOW = 4
"""Attempts at the same time for a destination of which nothing is known yet."""

PROVEN_SECONDS = 60.0
"""A destination that took something within this time is proven."""

UNPROVEN_SHARE = 0.5
"""Of all that may be under way, for destinations that are not proven: those that hang leave the rest to the others."""

UNPROVEN_MORE_SHARE = 0.25
"""Of the same, from which on one that is not proven has no second attempt beside its first: a few that hang, each with all that
its window allows, must not keep out those of which nothing is known yet."""

AHEAD_SECONDS = 0.5
"""Claimed ahead of what is under way: what a destination takes in this time, two looks at the table long."""

MOST_AHEAD = 250
CLAIMED_TIMES = 4
"""Claims of a process, in terms of what may be under way at once."""

MOST_BYTES = 64 * 1024 * 1024
"""Of sealed messages in a process' hands; what was claimed together may be more."""


_OTHER_DESCRIPTORS = descriptors.RESERVE + MOST_IDLE  # open beside what attempts hold
_log = structlog.get_logger("messagebroker.deliveries")


@dataclass
class _Window:
    size: float = FIRST_WINDOW
    running: int = 0  # under way
    reserved: int = 0  # claimed, or about to be: under way and waiting
    seconds: float = 0.0  # of an attempt, on the average
    took_at: float = float("-inf")


@dataclass(frozen=True)
class Place:
    """The right to make one attempt."""

    subscription_id: int
    is_unproven: bool


class Windows:
    """Of one process. Safe to use from all threads."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self.running = 0
        self.reserved = 0  # deliveries that this process has claimed
        self._bytes = 0  # of their messages
        self._windows: dict[int, _Window] = {}
        self._wanted = 0
        self._unproven = 0
        self._lock = threading.Lock()

    def resize(self, at_once: int) -> None:
        """So many attempts at a time, as far as they can be connected: a destination must not look dead because of us."""
        if at_once == self._wanted:
            return
        self._wanted = at_once
        room = descriptors.fitting(at_once, reserve=_OTHER_DESCRIPTORS)
        if room < at_once:
            _log.warning("fewer deliveries at once: raise the limit of open files (ulimit -n)", wanted=at_once, room=room)
        self.at_once = room

    def reserve(self, subscription_id: int, most: int, wanted: int = 1, *, merges: int = 1, urgent: bool = False) -> int:
        """Takes up to `wanted` places for claims of a destination; how many there were.

        Args:
            subscription_id: the destination.
            most: attempts at the same time that its channel allows for one destination.
            wanted: deliveries.
            merges: of which an attempt may take so many together.
            urgent: what is critical has places of its own, so that it is claimed though others were claimed ahead.
        """
        with self._lock:
            window = self._windows.setdefault(subscription_id, _Window())
            given = max(0, min(wanted, self._room(window, most, merges) + FIRST_WINDOW * urgent))
            window.reserved += given
            self.reserved += given
            return given

    def unreserve(self, subscription_id: int, number: int = 1) -> None:
        """Gives places back: what they were taken for has ended, or was never claimed."""
        with self._lock:
            window = self._windows[subscription_id]
            window.reserved -= number
            self.reserved -= number

    def hold(self, size: int) -> None:
        """So many bytes more are in hand, or less."""
        with self._lock:
            self._bytes += size

    def _room(self, window: _Window, most: int, merges: int) -> int:
        if self._bytes >= MOST_BYTES:
            return 0
        size = min(window.size, most)
        ahead = size
        if window.seconds > 0 and _is_proven(window):
            ahead = min(max(size, size * AHEAD_SECONDS / window.seconds), MOST_AHEAD)
        return min(int(ahead) * merges - window.reserved, CLAIMED_TIMES * self.at_once - self.reserved)

    def begin(self, subscription_id: int, most: int) -> Place | None:
        """The place for an attempt that may begin now; None: later, when another one has ended."""
        with self._lock:
            window = self._windows[subscription_id]
            if window.running >= min(window.size, most) or self.running >= self.at_once:
                return None
            unproven = not _is_proven(window)
            share = UNPROVEN_MORE_SHARE if window.running else UNPROVEN_SHARE
            if unproven and self._unproven >= max(1, int(self.at_once * share)):
                return None
            window.running += 1
            self.running += 1
            self._unproven += unproven
            return Place(subscription_id, unproven)

    def end(self, place: Place, *, took: bool, seconds: float, most: int) -> None:
        """The attempt has ended. `took`: the destination took what it was given, or said why not, and so is alive."""
        with self._lock:
            window = self._windows[place.subscription_id]
            window.running -= 1
            self.running -= 1
            self._unproven -= place.is_unproven
            if took:
                window.took_at = time.monotonic()
                window.size = min(window.size + 1, most)
                window.seconds = seconds if window.seconds == 0 else 0.9 * window.seconds + 0.1 * seconds
            else:
                window.size = max(1.0, window.size / 2)

    def forget(self, known: Collection[int]) -> None:
        """Drops what is idle and not among the known subscriptions."""
        with self._lock:
            idle = [one for one, window in self._windows.items() if not window.reserved and not window.running]
            for number in idle:
                if number not in known:
                    del self._windows[number]


def _is_proven(window: _Window) -> bool:
    return time.monotonic() - window.took_at < PROVEN_SECONDS
