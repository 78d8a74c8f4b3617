"""/api/v1/inbox: what came into one's own inbox. Whoever has a message there may open it."""

from __future__ import annotations

from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.db.connection import connected
from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, inbox
from messagebroker.ops.inbox import ItemView
from messagebroker.ops.opening import OpenedView, Opener
from messagebroker.ops.permissions import Permission

PATH = "/api/v1/inbox"
ONE = PATH + "/{item}"
Number = Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]{0,17}$")]
RIGHT = Right(permission=Permission.INBOX_OWN)


class InboxQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`unread`: only what was not read yet."""

    unread: bool = False
    limit: Limit = 50
    cursor: Cursor | None = None


class InboxPage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[ItemView]
    next: str | None


class OpenedItem(msgspec.Struct, kw_only=True):
    """An item and its message with what was sealed."""

    item: ItemView
    message: OpenedView


class Unread(msgspec.Struct, kw_only=True):
    """How many items were not read; 1000 stands for that many or more."""

    unread: int


class UpTo(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The newest item that was seen: what came later stays unread."""

    up_to: Annotated[int, msgspec.Meta(ge=1, lt=10**18)]


class Marked(msgspec.Struct, kw_only=True):
    """How many were unread before."""

    marked: int


class Inbox:
    """One's own, newest first."""

    rights: ClassVar = {"GET": RIGHT}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "My inbox", responses={200: InboxPage}, query=InboxQuery, security=TOKEN, tag="inbox",
        ),
    )  # fmt: skip

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, InboxQuery)
        try:
            before = None if query.cursor is None else cursors.read_number(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        found = inbox.page(_user(request), limit=query.limit + 1, before=before, unread=query.unread)
        items = found[: query.limit]
        more = len(found) > query.limit
        answer(response, InboxPage(items=items, next=cursors.of_number(items[-1].id) if more else None))


class UnreadCount:
    """For a mark beside the way to the inbox."""

    rights: ClassVar = {"GET": RIGHT}
    operations: ClassVar = (
        Operation("GET", PATH + "/unread", "How much I have not read", responses={200: Unread}, security=TOKEN, tag="inbox"),
    )

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """The number."""
        answer(response, Unread(unread=inbox.unread(_user(request))))


class ReadAll:
    """Marks a whole inbox."""

    rights: ClassVar = {"POST": RIGHT}
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/read-all", "Mark everything up to an item as read", UpTo, {200: Marked}, security=TOKEN,
            tag="inbox",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(UpTo)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """How many."""
        given = read_json(request, self._decoder)
        answer(response, Marked(marked=inbox.mark_all(_user(request), given.up_to)))


class InboxItem:
    """One item, opened; the audit log keeps who opened it."""

    rights: ClassVar = {"GET": RIGHT}
    operations: ClassVar = (
        Operation(
            "GET", ONE, "Open a message in my inbox", responses={200: OpenedItem, 404: None}, path_types={"item": Number},
            security=TOKEN, tag="inbox", description="It stays unread until it is marked.",
        ),
    )  # fmt: skip

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def on_get(self, request: falcon.Request, response: falcon.Response, item: str) -> None:
        """The item and the whole message. Items of others look as if there were none."""
        caller: Caller = request.context.caller
        with connected():
            row = inbox.row_of(_user(request), _number(item))
            message = self._opener.for_person(bytes(row.message_id), caller.actor)
            answer(response, OpenedItem(item=inbox.find(row.user_id, row.id), message=message))


class _Mark:
    def __init__(self, *, read: bool) -> None:
        self._read = read

    def on_post(self, request: falcon.Request, response: falcon.Response, item: str) -> None:
        """The item as it is then."""
        answer(response, inbox.mark(_user(request), _number(item), read=self._read))


class ReadItem(_Mark):
    """Marks one as read. The request has no body."""

    rights: ClassVar = {"POST": RIGHT}
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/read", "Mark as read", responses={200: ItemView, 404: None}, path_types={"item": Number},
            security=TOKEN, tag="inbox", description="The request has no body.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(read=True)


class UnreadItem(_Mark):
    """Marks one as unread. The request has no body."""

    rights: ClassVar = {"POST": RIGHT}
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/unread", "Mark as unread", responses={200: ItemView, 404: None}, path_types={"item": Number},
            security=TOKEN, tag="inbox", description="The request has no body.",
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(read=False)


def _user(request: falcon.Request) -> int:
    caller: Caller = request.context.caller
    assert caller.person is not None
    return int(caller.person.id)


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 18 and text[0] != "0":
        return int(text)
    raise Problem(404, "not-found", "an item of an inbox has a number such as 7")
