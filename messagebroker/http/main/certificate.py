"""/api/v1/certificates/{serial}: one certificate; renewing and revoking it, and revoking all that a client has."""

from __future__ import annotations

from typing import ClassVar

import falcon
import msgspec

from messagebroker.errors import NotFound
from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.certificate_views import (
    CertificateView,
    RenewalOrder,
    RevocationOrder,
    RevokedView,
    Serial,
    issued_view,
    orders_answered,
    view_of,
)
from messagebroker.http.main.certificates import ORDERS, PATH
from messagebroker.http.main.client_views import ClientName, only_of
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.ops import certificate_list, certificate_orders, certificate_revocations, clients
from messagebroker.ops.certificate_revocations import Revoked
from messagebroker.ops.permissions import Permission
from messagebroker.settings import Settings

_SERIALS: dict[str, object] = {"serial": Serial}
_TOLD = "When this answers, the servers were told: within a second they refuse it, also on open connections. \
503 `revoked-not-published`: it is revoked for good, and main tells the servers as soon as it can."


class OneCertificate:
    """A certificate of somebody else's client looks like one that is not there."""

    rights: ClassVar = {"GET": Right(permission=Permission.CERTIFICATES_READ, own=Permission.CLIENTS_OWN)}
    operations: ClassVar = (
        Operation(
            "GET", PATH + "/{serial}", "One certificate", responses={200: CertificateView, 404: None}, path_types=_SERIALS,
            security=TOKEN, tag="certificates",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def on_get(self, request: falcon.Request, response: falcon.Response, serial: str) -> None:
        """The certificate."""
        found = certificate_list.find(self._settings, serial)
        person = only_of(request.context.caller, Permission.CERTIFICATES_READ)
        if person is not None:
            absent = NotFound(f"there is no certificate with the serial {serial[:40]}")
            if found.kind != "client":
                raise absent
            try:
                clients.find(self._settings, found.name, only_of=person)
            except NotFound:
                raise absent from None
        answer(response, view_of(found))


class RenewedCertificate:
    """For a client that does not renew its certificate itself."""

    rights: ClassVar = {"POST": Right(permission=Permission.CERTIFICATES_MANAGE, own=Permission.CLIENTS_OWN)}
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/{serial}/renew", "Issue the holder a new certificate", request=RenewalOrder, responses=ORDERS,
            path_types=_SERIALS, security=TOKEN, tag="certificates", description="The earlier one stays valid until its end.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(RenewalOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response, serial: str) -> None:
        """The new certificate."""
        order = read_json(request, self._decoder)
        caller: Caller = request.context.caller
        with orders_answered():
            ordered = certificate_orders.renew(
                self._settings,
                serial,
                caller.actor,
                csr_pem=order.csr.encode(),
                days=order.days,
                only_of=only_of(caller, Permission.CERTIFICATES_MANAGE),
            )
        response.set_header("Location", f"{PATH}/{ordered.issued.serial}")
        answer(response, issued_view(ordered), status=201)


class RevokedCertificate:
    """For good."""

    rights: ClassVar = {"POST": Right(permission=Permission.CERTIFICATES_MANAGE)}
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/{serial}/revoke", "Revoke a certificate", request=RevocationOrder,
            responses={200: RevokedView, 404: None, 409: None, 503: None}, path_types=_SERIALS, security=TOKEN,
            tag="certificates", description=_TOLD,
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(RevocationOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response, serial: str) -> None:
        """What was revoked."""
        order = read_json(request, self._decoder)
        with orders_answered():
            revoked = certificate_revocations.revoke(self._settings, serial, order.reason, request.context.caller.actor)
        answer(response, _view(revoked))


class RevokedClient:
    """What to do when a key was stolen: whoever has it may have renewed its certificate meanwhile."""

    rights: ClassVar = {"POST": Right(permission=Permission.CERTIFICATES_MANAGE)}
    operations: ClassVar = (
        Operation(
            "POST", "/api/v1/clients/{name}/revoke", "Revoke all certificates of a client", request=RevocationOrder,
            responses={200: RevokedView, 404: None, 503: None}, path_types={"name": ClientName}, security=TOKEN,
            tag="clients", description=_TOLD,
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(RevocationOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        """What was revoked."""
        order = read_json(request, self._decoder)
        with orders_answered():
            revoked = certificate_revocations.revoke_all(self._settings, name, order.reason, request.context.caller.actor)
        answer(response, _view(revoked))


def _view(revoked: Revoked) -> RevokedView:
    return RevokedView(serials=revoked.serials, policy_number=revoked.policy_number)
