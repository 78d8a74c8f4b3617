"""POST /api/v1/certificates/renew: a client's next certificate, for the connection's own client and nobody else."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import falcon
import httpx
import msgspec
import structlog

from messagebroker.http.decoding import read_json
from messagebroker.http.later import Reply
from messagebroker.http.openapi import Operation
from messagebroker.http.problems import PREFIX, Problem
from messagebroker.http.proxy.lookup import Lookup
from messagebroker.http.proxy.reads import Reads

PATH = "/api/v1/certificates/renew"
_PASSED_ON = {"invalid-field": 422, "renewal-refused": 403, "too-many-certificates": 429}
log = structlog.get_logger(__name__)


class RenewalOrder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Of the signing request only the key counts: the name is that of the certificate of this connection."""

    csr: Annotated[str, msgspec.Meta(min_length=1, max_length=16 * 1024, description="PKCS #10 in PEM.")]


class RenewedCertificate(msgspec.Struct, kw_only=True):
    """The new certificate and the CA's, in PEM."""

    serial: str
    name: str
    not_before: datetime
    not_after: datetime
    certificate: str
    ca: str


class Renewal:
    """Main signs; the certificate of this connection stays valid until its end."""

    operations: ClassVar = (
        Operation(
            "POST",
            PATH,
            "Renew your certificate",
            request=RenewalOrder,
            responses={201: RenewedCertificate, 422: None, 429: None},
            tag="certificates",
            description="Make a new key, send a signing request for it, and use both from then on. Valid for as long as the"
            " present one was made for. Repeating the same request within an hour gives the same certificate.",
        ),
    )

    def __init__(self, lookup: Lookup, reads: Reads) -> None:
        self._lookup = lookup
        self._reads = reads
        self._decoder = msgspec.json.Decoder(RenewalOrder)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """Hands the request to main, with the name and the serial of the certificate that this connection showed."""
        order = read_json(request, self._decoder)
        peer = request.context.peer
        document = {"client": peer.name, "serial": peer.serial, "csr": order.csr}
        self._reads.answer(request, lambda: self._renewed(document))

    def _renewed(self, document: dict[str, str]) -> Reply:
        answer = self._lookup.post(PATH, document)
        if answer.status_code != 201:
            raise _passed_on(answer)
        return falcon.HTTP_201, [("Content-Type", "application/json"), ("Cache-Control", "no-store")], answer.content


def _passed_on(answer: httpx.Response) -> Problem:
    """What the client can do something about; the rest is between the proxy and main."""
    try:
        document = answer.json()
        name, detail = str(document["type"]).removeprefix(PREFIX), str(document["detail"])
        field = document.get("field")
    except (ValueError, KeyError, TypeError, AttributeError):
        name, detail, field = "", "", None
    retry_after = answer.headers.get("Retry-After")
    if _PASSED_ON.get(name) == answer.status_code:
        headers = {"Retry-After": retry_after} if retry_after else None
        return Problem(answer.status_code, name, detail, field=None if field is None else str(field), headers=headers)
    log.warning("main refused a renewal", status=answer.status_code, answer=answer.text[:300])
    detail = "certificates cannot be renewed at this moment; the present one stays good until its end"
    return Problem(503, "main-unavailable", detail, headers={"Retry-After": retry_after or "2"})
