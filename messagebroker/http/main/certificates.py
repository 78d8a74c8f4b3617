"""/api/v1/certificates: what was issued, and orders for more."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_json, read_query
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.certificate_views import (
    BundleOrder,
    BundleView,
    CertificateOrder,
    CertificateRow,
    IssuedView,
    issued_view,
    orders_answered,
)
from messagebroker.http.main.client_views import only_of
from messagebroker.http.main.lists import Cursor, Limit
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import certificate_list, certificate_orders, clients, cursors
from messagebroker.ops.certificate_list import CertificateFilter
from messagebroker.ops.clients import Unindexed
from messagebroker.ops.names import NAME
from messagebroker.ops.permissions import Permission
from messagebroker.settings import Settings

PATH = "/api/v1/certificates"
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
ORDERS = {201: IssuedView, 404: None, 409: None, 422: None, 429: None}


class CertificateQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """By serial; with `name` those of one holder; with `ends_after` or `ends_before` by their end, soonest first."""

    name: Annotated[str, msgspec.Meta(pattern=NAME)] | None = None
    ends_after: Moment | None = None
    ends_before: Moment | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class CertificatePage(msgspec.Struct, kw_only=True):
    """Part of the list. `next` is the `cursor` of the following part; null: there is none."""

    items: list[CertificateRow]
    next: str | None


class Certificates:
    """People without `certificates.read` name one of their own clients, and order for those they own themselves."""

    rights: ClassVar = {
        "GET": Right(permission=Permission.CERTIFICATES_READ, own=Permission.CLIENTS_OWN),
        "POST": Right(permission=Permission.CERTIFICATES_MANAGE, own=Permission.CLIENTS_OWN),
    }
    operations: ClassVar = (
        Operation(
            "GET", PATH, "Certificates that were issued", responses={200: CertificatePage, 404: None}, query=CertificateQuery,
            security=TOKEN, tag="certificates",
        ),
        Operation(
            "POST", PATH, "Issue a certificate for a client's own key", request=CertificateOrder, responses=ORDERS,
            security=TOKEN, tag="certificates",
            description="The request proves that its sender has the key; name, use and validity are not taken from it.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(CertificateOrder)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page."""
        query = read_query(request, CertificateQuery)
        self._check_own(request.context.caller, query)
        wanted = CertificateFilter(name=query.name, ends_after=query.ends_after, ends_before=query.ends_before)
        try:
            found, following = certificate_list.page(self._settings, wanted, limit=query.limit, cursor=query.cursor)
        except cursors.WrongCursor as error:
            raise Problem(400, "invalid-parameter", str(error), field="cursor") from None
        except Unindexed as error:
            raise Problem(400, "filter-not-indexed", str(error)) from None
        items = [msgspec.convert(one, CertificateRow, from_attributes=True) for one in found]
        answer(response, CertificatePage(items=items, next=following))

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """The new certificate."""
        order = read_json(request, self._decoder)
        caller: Caller = request.context.caller
        with orders_answered():
            ordered = certificate_orders.issue(
                self._settings,
                order.name,
                caller.actor,
                csr_pem=order.csr.encode(),
                days=order.days,
                only_of=only_of(caller, Permission.CERTIFICATES_MANAGE),
            )
        response.set_header("Location", f"{PATH}/{ordered.issued.serial}")
        answer(response, issued_view(ordered), status=201)

    def _check_own(self, caller: Caller, query: CertificateQuery) -> None:
        person = only_of(caller, Permission.CERTIFICATES_READ)
        if person is None:
            return
        if query.name is None:
            raise Problem(400, "invalid-parameter", "name one of your clients", field="name")
        clients.find(self._settings, query.name, only_of=person)


class Bundles:
    """The exception: a key that is made here, sent once, and kept nowhere."""

    rights: ClassVar = {"POST": Right(permission=Permission.CERTIFICATES_MANAGE, own=Permission.CLIENTS_OWN)}
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/bundle", "Issue a certificate with its key, shown once", request=BundleOrder,
            responses={**ORDERS, 201: BundleView}, security=TOKEN, tag="certificates",
            description="Better let the client make its key, and send a signing request: then nobody else ever has it.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = msgspec.json.Decoder(BundleOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Key, certificate and the CA's certificate."""
        order = read_json(request, self._decoder)
        caller: Caller = request.context.caller
        person = only_of(caller, Permission.CERTIFICATES_MANAGE)
        with orders_answered():
            ordered = certificate_orders.issue(
                self._settings, order.name, caller.actor, csr_pem=None, days=order.days, only_of=person
            )
        response.set_header("Location", f"{PATH}/{ordered.issued.serial}")
        answer(response, issued_view(ordered), status=201)
