"""/api/v1/dead-letters/preview, retry, purge, moves: what is done to many at once, and its undoing."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import falcon
import msgspec
from msgspec import Meta, Struct

from messagebroker.errors import Refused
from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.dead_letters import PATH, Fingerprint, GroupQuery, Instant, SubscriptionId
from messagebroker.http.main.message import MessageId
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, dead_letter_moves
from messagebroker.ops.dead_letter_moves import (
    DEFAULT_RATE,
    MOST_RATE,
    CountChanged,
    MoveView,
    NothingSelected,
    Preview,
    Undoing,
    UndoOver,
)
from messagebroker.ops.dead_letter_selection import Selection
from messagebroker.ops.permissions import Permission

MOVES = PATH + "/moves"
Number = Annotated[str, Meta(pattern="^[1-9][0-9]{0,8}$")]
Reason = Annotated[str, Meta(max_length=500)]
READ = {"GET": Right(permission=Permission.DEAD_LETTERS_READ)}
MANAGE = {"POST": Right(permission=Permission.DEAD_LETTERS_MANAGE)}


class Selected(Struct, forbid_unknown_fields=True, kw_only=True):
    """Dead letters for which everything that is given is true; `all` stands alone. Times are when messages were accepted."""

    subscription_id: SubscriptionId | None = None
    fingerprint: Fingerprint | None = None
    since: Instant | None = None
    until: Instant | None = None
    message_id: MessageId | None = None
    all: bool = False

    def selection(self) -> Selection:
        """For the functions that do it."""
        return Selection(**{name: getattr(self, name) for name in Selection.__struct_fields__})


class RetryOrder(Selected, forbid_unknown_fields=True, kw_only=True):
    """`rate`: messages a second."""

    rate: Annotated[int, Meta(ge=1, le=MOST_RATE)] = DEFAULT_RATE
    reason: Reason = ""


class PurgeOrder(Selected, forbid_unknown_fields=True, kw_only=True):
    """`confirm`: how many the preview said that they are."""

    confirm: Annotated[int, Meta(ge=1)]
    reason: Annotated[Reason, Meta(min_length=1)]


class MovePage(Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[MoveView]
    next: str | None


class PreviewDeadLetters:
    """Changes nothing."""

    rights: ClassVar = {"POST": Right(permission=Permission.DEAD_LETTERS_READ)}
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/preview", "Count dead letters", Selected, {200: Preview}, security=TOKEN, tag="deliveries",
            description="422 `vague-selection` when nothing is said; `all` means all of them.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Selected)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """How many there are."""
        given = read_json(request, self._decoder)
        try:
            answer(response, dead_letter_moves.preview(given.selection()))
        except Refused as error:
            raise _vague(error) from None


class RetryDeadLetters:
    """The workers do it, so many a second."""

    rights: ClassVar = MANAGE
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/retry", "Have them tried again", RetryOrder, {202: MoveView, 409: None}, security=TOKEN,
            tag="deliveries",
            description="With a fresh schedule; messages keep their ids and times, and their attempts stay in the history. "
            "409 `nothing-selected` when there is none that can be retried.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(RetryOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """202 with the move, which says how many it is."""
        order = read_json(request, self._decoder)
        actor = request.context.caller.actor
        try:
            move = dead_letter_moves.retry(order.selection(), actor, rate=order.rate, reason=order.reason)
        except NothingSelected as error:
            raise Problem(409, "nothing-selected", str(error)) from None
        except Refused as error:
            raise _vague(error) from None
        answer(response, move, status=202)


class PurgeDeadLetters:
    """Marked by the workers, removed for good ten minutes later."""

    rights: ClassVar = MANAGE
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/purge", "Remove them", PurgeOrder, {202: MoveView, 409: None}, security=TOKEN, tag="deliveries",
            description="409 `nothing-selected` when there is none; `count-changed` when there are more than `confirm` says.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(PurgeOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """202 with the move, which says how many it is."""
        order = read_json(request, self._decoder)
        if not order.reason.strip():
            raise Problem(422, "invalid-field", "say why: what is purged is gone", field="reason")
        actor = request.context.caller.actor
        try:
            move = dead_letter_moves.purge(order.selection(), actor, confirm=order.confirm, reason=order.reason)
        except NothingSelected as error:
            raise Problem(409, "nothing-selected", str(error)) from None
        except CountChanged as error:
            raise Problem(409, "count-changed", str(error)) from None
        except Refused as error:
            raise _vague(error) from None
        answer(response, move, status=202)


class DeadLetterMoves:
    """The last one first."""

    rights: ClassVar = READ
    operations: ClassVar = (
        Operation(
            "GET", MOVES, "Retries and purges of dead letters", responses={200: MovePage}, query=GroupQuery, security=TOKEN,
            tag="deliveries",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, GroupQuery)
        try:
            before = None if query.cursor is None else cursors.read_number(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        found = dead_letter_moves.page(query.limit + 1, before)
        listed = found[: query.limit]
        following = cursors.of_number(listed[-1].id) if len(found) > query.limit else None
        answer(response, MovePage(items=listed, next=following))


class OneDeadLetterMove:
    """How far it is."""

    rights: ClassVar = READ
    operations: ClassVar = (
        Operation(
            "GET", MOVES + "/{number}", "One retry or purge", responses={200: MoveView, 404: None},
            path_types={"number": Number}, security=TOKEN, tag="deliveries",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response, number: str) -> None:
        """The move."""
        answer(response, dead_letter_moves.find(_number(number)))


class UndoneDeadLetterMove:
    """While it runs, and for ten minutes after its end."""

    rights: ClassVar = MANAGE
    operations: ClassVar = (
        Operation(
            "POST", MOVES + "/{number}/undo", "Stop it, and put back what can be",
            responses={202: Undoing, 404: None, 409: None}, path_types={"number": Number}, security=TOKEN, tag="deliveries",
            description="Of a purge all, of a retry what was not tried yet. 409 `undo-over`. The request has no body.",
        ),
    )  # fmt: skip

    def on_post(self, request: falcon.Request, response: falcon.Response, number: str) -> None:
        """202: how many are put back."""
        try:
            found = dead_letter_moves.undo(_number(number), request.context.caller.actor)
        except UndoOver as error:
            raise Problem(409, "undo-over", str(error)) from None
        answer(response, found, status=202)


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 9 and text[0] != "0":
        return int(text)
    raise Problem(404, "not-found", "a move has a number such as 7")


def _vague(error: Any) -> Problem:
    return Problem(422, "vague-selection", str(error))
