"""Deliveries that are claimed and wait for room, by destination."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from messagebroker.actors.deliveries.items import Item


class Waiting:
    """Of one process; for the thread of its loop alone."""

    def __init__(self) -> None:
        self._lines: dict[int, deque[Item]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __iter__(self) -> Iterator[Item]:
        return (item for line in self._lines.values() for item in line)

    def add(self, items: Sequence[Item]) -> None:
        """Behind those of the same destination that are as urgent, and before the others."""
        for item in items:
            line = self._lines.setdefault(item.subscribed.id, deque())
            overtakes = bool(line) and item.priority < line[-1].priority
            line.append(item)
            if overtakes:
                self._lines[item.subscribed.id] = deque(sorted(line, key=lambda one: one.priority))

    def first(self, destination: int) -> Item | None:
        """The next one of a destination."""
        line = self._lines.get(destination)
        return line[0] if line else None

    def pop(self, destination: int, most: int) -> list[Item]:
        """Takes the next ones of a destination out."""
        line = self._lines[destination]
        items = [line.popleft() for _ in range(min(most, len(line)))]
        if not line:
            del self._lines[destination]
        return items

    def next_in_turn(self, most: int) -> Iterator[int]:
        """Some destinations, each time the following ones; those that are taken from the iterator have had their turn."""
        for destination in list(islice(self._lines, most)):
            if destination in self._lines:
                self._lines[destination] = self._lines.pop(destination)  # to the end
                yield destination

    def take_out(self, chooses: Callable[[Item], bool]) -> list[Item]:
        """Those of all destinations that are chosen."""
        found = [item for item in self if chooses(item)]
        for destination in {item.subscribed.id for item in found}:
            self._lines[destination] = deque(item for item in self._lines[destination] if not chooses(item))
            if not self._lines[destination]:
                del self._lines[destination]
        return found
