"""Renewals at the wish of holders: proxies name the client whose connection they have, components come themselves."""

from __future__ import annotations

from typing import ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Right
from messagebroker.http.main.certificate_views import Csr, IssuedView, Serial, issued_view, orders_answered
from messagebroker.http.main.client_views import ClientName
from messagebroker.http.openapi import CERTIFICATE, Operation
from messagebroker.ops import certificate_orders
from messagebroker.ops.audit import Actor
from messagebroker.settings import Settings

COMPONENT_PATH = "/api/v1/components/certificate"
_ANSWERS = {201: IssuedView, 422: None, 429: None}


class ClientRenewal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`serial` is of the certificate that the client presented to the proxy."""

    client: ClientName
    serial: Serial
    csr: Csr


class ComponentRenewal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Nothing but the request: who asks is known from the connection."""

    csr: Csr


class ClientRenewals:
    """A proxy passes on what a client asked for; what it claims is checked, and a client that may not send gets nothing."""

    rights: ClassVar = {"POST": Right(component="proxy")}
    operations: ClassVar = (
        Operation(
            "POST", "/api/v1/certificates/renew", "Renew the certificate of the client that asks a proxy",
            request=ClientRenewal, responses=_ANSWERS, security=CERTIFICATE, tag="certificates",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(ClientRenewal)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """The new certificate."""
        wanted = read_json(request, self._decoder)
        caller = request.context.caller
        actor = Actor(name=f"client:{wanted.client}", address=caller.address, user_agent=caller.user_agent)
        with orders_answered():
            ordered = certificate_orders.renew_presented(
                self._settings, "client", wanted.client, wanted.serial, wanted.csr.encode(), actor
            )
        answer(response, issued_view(ordered), status=201)


class ComponentRenewals:
    """The role is that of the certificate presented; a component gets another one for itself alone."""

    rights: ClassVar = {"POST": Right(itself=True)}
    operations: ClassVar = (
        Operation(
            "POST", COMPONENT_PATH, "Renew the certificate of the component that asks", request=ComponentRenewal,
            responses=_ANSWERS, security=CERTIFICATE, tag="certificates",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(ComponentRenewal)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """The new certificate."""
        wanted = read_json(request, self._decoder)
        peer, caller = request.context.peer, request.context.caller
        actor = Actor(name=f"component:{peer.name}", address=caller.address, user_agent=caller.user_agent)
        with orders_answered():
            ordered = certificate_orders.renew_presented(
                self._settings, peer.kind, peer.name, peer.serial, wanted.csr.encode(), actor
            )
        answer(response, issued_view(ordered), status=201)
