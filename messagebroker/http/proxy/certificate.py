"""How a proxy renews its own certificate."""

from __future__ import annotations

from datetime import datetime

from messagebroker.client import ApiClient, ClientError
from messagebroker.client.renewal import is_due
from messagebroker.errors import Unavailable
from messagebroker.http.certificate_keeper import Renew
from messagebroker.settings import Settings


def from_main(settings: Settings, role: str) -> Renew:
    """The other roles' way: a signing request to main, over a connection that shows the present certificate."""
    folder = settings.path(settings.certs_dir)
    certificate, key = folder / f"{role}.crt", folder / f"{role}.key"

    def renew() -> datetime | None:
        if not is_due(certificate):
            return None
        try:
            with ApiClient(settings.url_of("main"), cert=certificate, key=key, ca=folder / "ca.crt", timeout=10.0) as main:
                issued = main.renew_component_certificate()
        except ClientError as error:
            raise Unavailable(str(error)) from error
        return issued.not_after if issued else None

    return renew
