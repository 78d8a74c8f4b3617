"""How fast main may be asked, from one address and by one person."""

from __future__ import annotations

from typing import Any

import falcon

from messagebroker.http.access import METRICS_PATHS
from messagebroker.http.main.callers import address_of
from messagebroker.http.problems import rate_limited
from messagebroker.ops.addresses import group_of
from messagebroker.ops.limits import Limiter, Shared, Verdict
from messagebroker.settings import Settings

_FOR_PEOPLE = "portal"


class Rates:
    """Falcon middleware behind `Access` and before `Callers`, so that strangers are counted too.

    Components but the portal are not: they ask for many, and have limits of their own (the proxy: `proxy.reads`).

    Args:
        shared: where all processes count.
        settings: the rates.
        open_paths: not counted: health checks must get through.
    """

    def __init__(self, shared: Shared, settings: Settings, *, open_paths: frozenset[str]) -> None:
        self._addresses = Limiter(shared, kind="address", rate=settings.api_rate_per_address)
        self._users = Limiter(shared, kind="user", rate=settings.api_rate_per_user)
        self._clients = Limiter(shared, kind="pulls", rate=settings.api_rate_per_client)
        self._open = open_paths | METRICS_PATHS

    def process_request(self, request: falcon.Request, response: falcon.Response) -> None:
        """Charges the address; or a client that shows its certificate, for many of them may share an address."""
        peer = request.context.peer
        if peer is not None and peer.kind == "client":
            _settle(self._clients.charge(peer.name), response, "client")
            return
        if request.path in self._open or (peer is not None and peer.kind == "component" and peer.name != _FOR_PEOPLE):
            return
        address = address_of(request)
        if address is not None:
            _settle(self._addresses.charge(group_of(address)), response, "address")

    def process_resource(self, request: falcon.Request, response: falcon.Response, resource: Any, params: Any) -> None:
        """Charges the person."""
        caller = getattr(request.context, "caller", None)
        if caller is not None and caller.person is not None:
            _settle(self._users.charge(str(caller.person.id)), response, "user")


def _settle(verdict: Verdict, response: falcon.Response, whose: str) -> None:
    """The last limit that was looked at is the one that is told."""
    for name, value in verdict.headers.items():
        response.set_header(name, value)
    if verdict.refused:
        raise rate_limited(verdict, whose)
