"""GET /api/v1/ca.crt and /api/v1/crl: the CA's public side, for everybody."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

import falcon

from messagebroker.http.openapi import PUBLIC, Operation
from messagebroker.ops import certificates
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.settings import Settings

CA_PATH, CRL_PATH = "/api/v1/ca.crt", "/api/v1/crl"
PATHS = frozenset({CA_PATH, CRL_PATH})
_MEDIA = "application/x-pem-file"
_KEEP_SECONDS = 5.0


class CaCertificate:
    """What servers and clients verify each other with."""

    operations: ClassVar = (
        Operation("GET", CA_PATH, "The CA's certificate", responses={200: str}, media=_MEDIA, security=PUBLIC, tag="CA"),
    )

    def __init__(self, settings: Settings) -> None:
        self._folder = CaFolder(settings)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """In PEM."""
        response.content_type = _MEDIA
        response.data = self._folder.ca.certificate_pem


class RevocationList:
    """Signed at most every five seconds, however many strangers ask."""

    operations: ClassVar = (
        Operation(
            "GET",
            CRL_PATH,
            "The revocation list",
            responses={200: str, 503: None},
            media=_MEDIA,
            security=PUBLIC,
            tag="CA",
        ),
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._kept = b""
        self._kept_until = float("-inf")

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """In PEM."""
        response.content_type = _MEDIA
        response.data = self._current()

    def _current(self) -> bytes:
        with self._lock:
            if time.monotonic() >= self._kept_until:
                self._kept = certificates.crl(self._settings)
                self._kept_until = time.monotonic() + _KEEP_SECONDS
            return self._kept
