"""/api/v1/topics: the catalogue. Everybody who logs in may read it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

import falcon
import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from messagebroker.errors import Conflict
from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Right
from messagebroker.http.main.client_views import fields_named
from messagebroker.http.main.etags import DESCRIBED, etag_of, require_match, set_etag
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import cursors, topics
from messagebroker.ops.names import TOPIC
from messagebroker.ops.permissions import Permission
from messagebroker.ops.topic_fields import FIELDS, LONGEST_DESCRIPTION
from messagebroker.ops.topics import Changed, Check, TopicEntry
from messagebroker.settings import Settings

PATH = "/api/v1/topics"
ONE = PATH + "/{name:path}"  # names may have slashes in them
MANAGE = Permission.TOPICS_MANAGE
READ = Permission.MESSAGES_OWN  # every role's
TopicName = Annotated[str, Meta(pattern=TOPIC, description="A slash in it may be sent as it is, or as `%2F`.")]
_NAMES: dict[str, object] = {"name": TopicName}
_NOTE = "stored; the proxies do not know it yet, main tells them as soon as Redis answers"

Description = Annotated[str, Meta(max_length=LONGEST_DESCRIPTION)]
Schema = Annotated[
    dict[str, Any],
    Meta(description="JSON Schema (drafts 6, 7, 2019-09, 2020-12) that bodies are checked against; `$ref` only to `#/…`."),
]


class TopicQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """How much, from where on."""

    limit: Limit = 50
    cursor: Cursor | None = None


class TopicLine(Struct, kw_only=True):
    """A topic in a list. `must_route`: a message that nobody subscribed to is a failed one."""

    name: str
    description: str
    has_schema: bool
    deprecated_at: datetime | None
    must_route: bool
    created_at: datetime


class TopicPage(Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[TopicLine]
    next: str | None


class TopicView(TopicLine, kw_only=True):
    """A topic. `schema` null: bodies are not checked."""

    schema: dict[str, Any] | None


class TopicChanged(TopicView, kw_only=True):
    """The topic as it is now. `policy_number` null: it is stored, and the proxies do not know it yet; `note` says so."""

    policy_number: int | None
    note: str | None


class TopicFields(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What is left out stays as it is; a schema of null takes the present one away."""

    description: Description | UnsetType = UNSET
    schema: Schema | UnsetType | None = UNSET
    deprecated: bool | UnsetType = UNSET
    must_route: bool | UnsetType = UNSET

    def given(self) -> dict[str, Any]:
        """Those that were sent."""
        return {field: value for field in FIELDS if (value := getattr(self, field)) is not UNSET}


class NewTopic(TopicFields, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """An entry for the catalogue."""

    name: TopicName


class Topics:
    """In the order of names."""

    rights: ClassVar = {"GET": Right(permission=READ), "POST": Right(permission=MANAGE)}
    operations: ClassVar = (
        Operation(
            "GET", PATH, "The catalogue of topics", responses={200: TopicPage}, query=TopicQuery, security=TOKEN, tag="topics",
            description="Messages may be on topics that it does not name.",
        ),
        Operation(
            "POST", PATH, "Put a topic into the catalogue", NewTopic, {201: TopicChanged, 409: None}, security=TOKEN,
            tag="topics", response_headers={201: {"Location": "Of the topic.", **DESCRIBED}},
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(NewTopic)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, TopicQuery)
        try:
            after = None if query.cursor is None else cursors.read_name(query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        found = topics.page(limit=query.limit + 1, after=after)
        items = [msgspec.convert(line, TopicLine, from_attributes=True) for line in found[: query.limit]]
        more = len(found) > query.limit
        answer(response, TopicPage(items=items, next=cursors.of_name(items[-1].name) if more else None))

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """201 with the topic."""
        wanted = read_json(request, self._decoder)
        try:
            with fields_named():
                made = topics.create(self._settings, wanted.name, wanted.given(), request.context.caller.actor)
        except Conflict as error:
            raise Problem(409, "topic-exists", str(error), field="name") from None
        response.set_header("Location", f"{PATH}/{wanted.name}")
        _answer(response, made, status=201)


class OneTopic:
    """An entry of the catalogue."""

    rights: ClassVar = {"GET": Right(permission=READ), "PATCH": Right(permission=MANAGE), "DELETE": Right(permission=MANAGE)}
    operations: ClassVar = (
        Operation(
            "GET", ONE, "One topic", responses={200: TopicView, 404: None}, path_types=_NAMES, security=TOKEN, tag="topics",
            response_headers={200: DESCRIBED},
        ),
        Operation(
            "PATCH", ONE, "Change a topic", TopicFields, {200: TopicChanged, 404: None, 412: None}, path_types=_NAMES,
            security=TOKEN, tag="topics", response_headers={200: DESCRIBED},
            description="The proxies know when this answers. Takes If-Match.",
        ),
        Operation(
            "DELETE", ONE, "Take a topic out of the catalogue", responses={204: None, 404: None, 412: None},
            path_types=_NAMES, security=TOKEN, tag="topics",
            description="Its messages stay; new ones are taken as before, but no longer checked. Takes If-Match.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(TopicFields)

    def on_get(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """The topic, with its tag."""
        view = _view(topics.find(name))
        set_etag(response, view)
        answer(response, view)

    def on_patch(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """The fields that are given."""
        given = read_json(request, self._decoder).given()
        with fields_named():
            changed = topics.change(self._settings, name, given, request.context.caller.actor, check=_check(request))
        _answer(response, changed)

    def on_delete(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """204."""
        topics.remove(self._settings, name, request.context.caller.actor, check=_check(request))
        response.status = 204


def _view(entry: TopicEntry) -> TopicView:
    return msgspec.convert(entry, TopicView, from_attributes=True)


def _check(request: falcon.Request) -> Check:
    return lambda entry: require_match(request, _view(entry))


def _answer(response: falcon.Response, changed: Changed, *, status: int = 200) -> None:
    view = _view(changed.topic)
    note = None if changed.note is None else _NOTE
    shown = TopicChanged(**msgspec.structs.asdict(view), policy_number=changed.policy_number, note=note)
    response.set_header("ETag", etag_of(view))
    answer(response, shown, status=status)
