"""What may be asked of the table of messages: the filters that an index serves, and the ranges of indexes they mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from messagebroker.errors import Refused
from messagebroker.ops import cursors, ids, ranges
from messagebroker.ops.ranges import Range, Window
from messagebroker.ops.scope import Scope

NARROWING = ("client", "status", "topic", "correlation_id", "sender")

OFFERED = (("client",), ("client", "status"), ("topic",), ("topic", "status"), ("status",), ("correlation_id",), ("sender",))
"""What may be asked for together, beside nothing at all: each has an index."""

OFFERED_IN_SCOPE = OFFERED[:5]
"""To people who see a part of the messages: no index has a sender's messages of some clients side by side."""

MOST_RANGES = 150
"""Of a person's clients and topics that one page is merged from: each costs a search in an index."""


class Unindexed(Refused):
    """No index serves this combination of filters."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which messages, in which order, from where on."""

    client: str | None = None
    status: str | None = None
    topic: str | None = None
    correlation_id: str | None = None
    sender: bytes | None = None  # its keyed hash
    since: datetime | None = None  # accepted at or after
    until: datetime | None = None  # accepted before
    newest_first: bool = True
    limit: int = 50
    cursor: str | None = None

    @property
    def named(self) -> frozenset[str]:
        """The filters that are set, but for the times."""
        return frozenset(name for name in NARROWING if getattr(self, name) is not None)

    def ranges(self) -> list[Range]:
        """Where everything lies that is asked for.

        Raises:
            Unindexed: no index serves these filters together.
        """
        self._refuse_others(OFFERED)
        if self.client is not None:
            return [ranges.of_client(self.client, self.status)]
        if self.topic is not None:
            return ranges.of_topic(self.topic, self.status)
        if self.correlation_id is not None:
            return [ranges.of_correlation(self.correlation_id)]
        if self.sender is not None:
            return [ranges.of_sender(self.sender)]
        return [ranges.EVERYTHING if self.status is None else ranges.of_status(self.status)]

    def ranges_in(self, scope: Scope) -> list[Range]:
        """Where the part of it lies that a person may see: a range for each of their clients and topics."""
        self._refuse_others(OFFERED_IN_SCOPE)
        clients, topics = scope.clients, scope.topics
        if self.client is not None:
            if self.client not in clients and topics:
                raise Unindexed("`client` finds messages of your own clients and your groups'; others by `topic`")
            clients, topics = clients & {self.client}, frozenset()
        elif self.topic is not None:
            if self.topic not in topics and clients:
                raise Unindexed("`topic` finds messages on topics of your groups; those of your own clients by `client`")
            clients, topics = frozenset(), topics & {self.topic}
        parts = [ranges.of_client(client, self.status) for client in sorted(clients)]
        parts += [part for topic in sorted(topics) for part in ranges.of_topic(topic, self.status)]
        if len(parts) > MOST_RANGES:
            raise Unindexed("you have too many clients and topics for one list; name one of them with `client` or `topic`")
        return parts

    def window(self) -> Window:
        """The part of these ranges that is one page, and one id more to tell whether there is another.

        Raises:
            WrongCursor: the cursor is not one of a list in the order of ids.
        """
        position = None if self.cursor is None else cursors.read_id(self.cursor)
        ends = [end for end in (position if self.newest_first else None, _floor(self.until)) if end is not None]
        return Window(
            above=None if self.newest_first else position,
            floor=_floor(self.since),
            below=min(ends, default=None),
            newest_first=self.newest_first,
            limit=self.limit + 1,
        )

    def _refuse_others(self, offered: tuple[tuple[str, ...], ...]) -> None:
        named = self.named
        if named and named not in map(frozenset, offered):
            possible = ", ".join(" with ".join(f"`{name}`" for name in names) for names in offered)
            given = " and ".join(f"`{name}`" for name in NARROWING if name in named)
            raise Unindexed(
                f"no index serves {given}{' together' if len(named) > 1 else ''}; possible are {possible}, or none of them; "
                "each with `since` and `until`"
            )


_FIRST_IDS = datetime(1970, 1, 1, tzinfo=UTC)  # ids count from here


def _floor(moment: datetime | None) -> bytes | None:
    return None if moment is None else ids.floor(max(moment, _FIRST_IDS))
