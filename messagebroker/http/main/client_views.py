"""Clients as the API shows and takes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import falcon
import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from messagebroker.db.models import User
from messagebroker.http.decoding import answer
from messagebroker.http.main.callers import Caller
from messagebroker.http.main.etags import etag_of
from messagebroker.http.problems import Problem
from messagebroker.ops.client_fields import FIELDS
from messagebroker.ops.clients import Changed, ClientEntry
from messagebroker.ops.csr import WrongRequest
from messagebroker.ops.fields import WrongField
from messagebroker.ops.names import NAME, TOPIC
from messagebroker.ops.patterns import MOST_PATTERNS
from messagebroker.ops.permissions import Permission

ClientName = Annotated[str, Meta(pattern=NAME)]
GroupId = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Owner = Annotated[str, Meta(min_length=3, max_length=249, description="A user's e-mail address.")]
Topic = Annotated[str, Meta(pattern=TOPIC)]
Pattern = Annotated[str, Meta(min_length=1, max_length=200, description="A topic; up to three `*` stand for anything.")]
Topics = Annotated[list[Pattern], Meta(min_length=1, max_length=MOST_PATTERNS)]
Rate = Annotated[int, Meta(ge=1, le=1_000_000, description="Messages a second.")]
MaxBatch = Annotated[int, Meta(ge=1, le=100_000, description="Messages in a batch.")]


class ClientView(Struct, kw_only=True):
    """A sender. `topics` null: every topic; `rate` and `max_batch` null: the system's limits."""

    name: str
    owner: str | None
    group_id: int | None
    default_topic: str
    topics: list[str] | None
    rate: int | None
    max_batch: int | None
    created_at: datetime
    disabled_at: datetime | None
    certificate_ends: datetime | None  # of the newest one that is not revoked


class ClientChanged(ClientView, kw_only=True):
    """The client as it is now. `policy_number` null: it is stored, and the proxies do not know it yet; `note` says so."""

    policy_number: int | None
    note: str | None


class ClientFields(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What is left out stays as it is; null takes a limit, the owner or the group away."""

    owner: Owner | UnsetType | None = UNSET
    group_id: GroupId | UnsetType | None = UNSET
    default_topic: Topic | UnsetType = UNSET
    topics: Topics | UnsetType | None = UNSET
    rate: Rate | UnsetType | None = UNSET
    max_batch: MaxBatch | UnsetType | None = UNSET

    def given(self) -> dict[str, Any]:
        """Those that were sent."""
        return {field: value for field in FIELDS if (value := getattr(self, field)) is not UNSET}


class NewClient(ClientFields, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A client to register. What is left out has the system's default."""

    name: ClientName


def view_of(entry: ClientEntry) -> ClientView:
    """What everybody who may see the client sees."""
    return msgspec.convert(entry, ClientView, from_attributes=True)


def answer_changed(response: falcon.Response, changed: Changed, *, status: int = 200) -> None:
    """The client as it is now, with the tag that a GET would have."""
    view = view_of(changed.client)
    note = None if changed.note is None else "stored; the proxies do not know it yet, main tells them as soon as Redis answers"
    shown = ClientChanged(**msgspec.structs.asdict(view), policy_number=changed.policy_number, note=note)
    response.set_header("ETag", etag_of(view))
    answer(response, shown, status=status)


def only_of(caller: Caller, permission: Permission) -> User | None:
    """None when the caller has the permission for everybody's; else the person, who has it for their own."""
    return None if caller.may(permission) else caller.person


@contextmanager
def fields_named() -> Iterator[None]:
    """What is wrong in a request becomes a 422 that names the field."""
    try:
        yield
    except WrongField as error:
        raise Problem(422, "invalid-field", error.text, field=error.field) from None
    except WrongRequest as error:
        raise Problem(422, "invalid-field", str(error), field="csr") from None
