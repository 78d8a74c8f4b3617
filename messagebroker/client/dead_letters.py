"""Dead letters: failed deliveries, in groups and one by one; having them retried or purged, and undoing that."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, Page, get, send, under

DEAD_LETTERS = "/api/v1/dead-letters"
MOVES = DEAD_LETTERS + "/moves"


class DeadLetterGroup(Struct, frozen=True, kw_only=True):
    """Failures of one kind at one destination. Times are when the first and the last of the messages were accepted."""

    subscription_id: int
    count: int
    first_at: datetime
    last_at: datetime
    state: str  # of the subscription: "active", "disabled" or "removed"
    message_id: str  # the last one
    subscription: str | None = None
    channel: str | None = None
    fingerprint: str | None = None
    error: str | None = None


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A failed delivery, with what is plain of its message."""

    message_id: str
    subscription_id: int
    attempts: int
    client_id: str
    topic: str
    priority: str
    accepted_at: datetime
    failed_at: datetime | None = None
    subscription: str | None = None
    channel: str | None = None
    fingerprint: str | None = None
    error: str | None = None


class DeadLetterPreview(Struct, frozen=True, kw_only=True):
    """`not_retryable`: of `count`, those whose subscription is disabled or removed, or whose message has expired."""

    count: int
    not_retryable: int = 0
    subscriptions: int = 0


class DeadLetterMove(Struct, frozen=True, kw_only=True):
    """A retry or a purge: how many it is of, and how far it is."""

    id: int
    kind: str
    created_by: str
    created_at: datetime
    total: int
    moved: int
    state: str  # "running", "done", "undoing", "undone", "removing" or "final"
    undone: int = 0
    rate: int | None = None
    reason: str = ""
    undo_until: datetime | None = None
    selection: dict[str, Any] = field(default_factory=dict)


class DeadLetterUndo(Struct, frozen=True, kw_only=True):
    """`count`: put back. `not_moved`: it had not come to them. `kept`: tried again, or expired, by now."""

    id: int
    count: int
    not_moved: int = 0
    kept: int = 0


class Selection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Dead letters for which everything that is given is true; `all` stands alone. Times are when messages were accepted."""

    subscription_id: int | None = None
    fingerprint: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    message_id: str | None = None
    all: bool = False

    def document(self) -> dict[str, Any]:
        """What is given of it."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in given.items() if value}


def groups(caller: Caller, *, limit: int = 50, cursor: str | None = None) -> Call[Page[DeadLetterGroup]]:
    """A part of the groups, in the order of subscriptions."""
    return get(caller, DEAD_LETTERS + "/groups", _GROUPS, limit=limit, cursor=cursor)


def page(
    caller: Caller,
    *,
    subscription_id: int | None = None,
    fingerprint: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[Page[DeadLetter]]:
    """A part of all, of a subscription's, or of a group's (then also of a time)."""
    filters = {"subscription_id": subscription_id, "fingerprint": fingerprint, "since": since, "until": until}
    return get(caller, DEAD_LETTERS, _PAGE, **filters, limit=limit, cursor=cursor)


def preview(caller: Caller, selection: Selection = Selection()) -> Call[DeadLetterPreview]:  # noqa: B008 - frozen
    """How many there are."""
    return send(caller, "POST", DEAD_LETTERS + "/preview", _PREVIEW, selection.document())


def retry(
    caller: Caller,
    selection: Selection = Selection(),  # noqa: B008 - frozen
    *,
    rate: int = 100,
    reason: str = "",
) -> Call[DeadLetterMove]:
    """Has them tried again, `rate` a second; a Problem `nothing-selected` when there is none."""
    return send(caller, "POST", DEAD_LETTERS + "/retry", _MOVE, {**selection.document(), "rate": rate, "reason": reason})


def purge(
    caller: Caller,
    selection: Selection = Selection(),  # noqa: B008 - frozen
    *,
    confirm: int = 0,
    reason: str = "",
) -> Call[DeadLetterMove]:
    """Removes them; `confirm` is the count of the preview. A Problem `count-changed` when there are more by now."""
    return send(caller, "POST", DEAD_LETTERS + "/purge", _MOVE, {**selection.document(), "confirm": confirm, "reason": reason})


def moves(caller: Caller, *, limit: int = 50, cursor: str | None = None) -> Call[Page[DeadLetterMove]]:
    """A part of the retries and purges, the last one first."""
    return get(caller, MOVES, _MOVES, limit=limit, cursor=cursor)


def move(caller: Caller, number: int) -> Call[DeadLetterMove]:
    """One of them."""
    return get(caller, under(MOVES, number), _MOVE)


def undo(caller: Caller, number: int) -> Call[DeadLetterUndo]:
    """Stops it, and puts back what can be: of a purge all, of a retry what was not tried yet."""
    return send(caller, "POST", under(MOVES, number, "undo"), _UNDO)


class DeadLetterMethods:
    """Of the clients."""

    dead_letter_groups = Method(groups)
    dead_letters = Method(page)
    preview_dead_letters = Method(preview)
    retry_dead_letters = Method(retry)
    purge_dead_letters = Method(purge)
    dead_letter_moves = Method(moves)
    dead_letter_move = Method(move)
    undo_dead_letter_move = Method(undo)


_GROUPS = reader(Page[DeadLetterGroup])
_PAGE = reader(Page[DeadLetter])
_PREVIEW = reader(DeadLetterPreview)
_MOVE = reader(DeadLetterMove)
_MOVES = reader(Page[DeadLetterMove])
_UNDO = reader(DeadLetterUndo)
