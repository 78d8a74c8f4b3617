"""/api/v1/clients/{name}: one client; changing it, shutting it out, letting it in again."""

from __future__ import annotations

from typing import ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Right
from messagebroker.http.main.client_views import (
    ClientChanged,
    ClientFields,
    ClientName,
    ClientView,
    answer_changed,
    fields_named,
    only_of,
    view_of,
)
from messagebroker.http.main.clients import PATH
from messagebroker.http.main.etags import DESCRIBED, require_match, set_etag
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.ops import clients
from messagebroker.ops.clients import Check
from messagebroker.ops.permissions import Permission
from messagebroker.settings import Settings

ONE = PATH + "/{name}"
_NAMES: dict[str, object] = {"name": ClientName}
_CHANGED = {200: ClientChanged, 404: None, 412: None}


class OneClient:
    """Somebody else's client looks like one that is not there."""

    rights: ClassVar = {
        "GET": Right(permission=Permission.CLIENTS_READ, own=Permission.CLIENTS_OWN),
        "PATCH": Right(permission=Permission.CLIENTS_MANAGE),
    }
    operations: ClassVar = (
        Operation(
            "GET", ONE, "One client", responses={200: ClientView, 404: None}, path_types=_NAMES, security=TOKEN,
            tag="clients", response_headers={200: DESCRIBED},
        ),
        Operation(
            "PATCH", ONE, "Change a client", request=ClientFields, responses={**_CHANGED, 422: None}, path_types=_NAMES,
            security=TOKEN, tag="clients", response_headers={200: DESCRIBED},
            description="The proxies know when this answers. If-Match refuses to overwrite what somebody else just changed.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(ClientFields)

    def on_get(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """The client, with its tag."""
        person = only_of(request.context.caller, Permission.CLIENTS_READ)
        view = view_of(clients.find(self._settings, name, only_of=person))
        set_etag(response, view)
        answer(response, view)

    def on_patch(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """The fields that are given."""
        given = read_json(request, self._decoder).given()
        with fields_named():
            actor, check = request.context.caller.actor, _check(request)
            changed = clients.change(self._settings, name, given, actor, check=check)
        answer_changed(response, changed)


class DisabledClient:
    """The switch."""

    rights: ClassVar = {"POST": Right(permission=Permission.CLIENTS_MANAGE)}
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/disable", "Shut a client out", responses=_CHANGED, path_types=_NAMES, security=TOKEN,
            tag="clients", response_headers={200: DESCRIBED},
            description="Its certificates stay; `enable` lets it in again. To shut out a stolen key, revoke.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def on_post(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """The client as it is then."""
        changed = clients.disable(self._settings, name, request.context.caller.actor, check=_check(request))
        answer_changed(response, changed)


class EnabledClient:
    """The other way round."""

    rights: ClassVar = {"POST": Right(permission=Permission.CLIENTS_MANAGE)}
    operations: ClassVar = (
        Operation(
            "POST", ONE + "/enable", "Let a client in again", responses=_CHANGED, path_types=_NAMES, security=TOKEN,
            tag="clients", response_headers={200: DESCRIBED},
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def on_post(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """The client as it is then."""
        changed = clients.enable(self._settings, name, request.context.caller.actor, check=_check(request))
        answer_changed(response, changed)


def _check(request: falcon.Request) -> Check:
    return lambda entry: require_match(request, view_of(entry))
