"""A role renews its own certificate at two thirds of its life, in a thread; its server takes the files up by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from messagebroker.client import ApiClient, ClientError
from messagebroker.client.renewal import is_due
from messagebroker.errors import BrokerError
from messagebroker.ops import certificates, pki
from messagebroker.settings import Settings

FIRST_SECONDS = 3.0  # main may be starting too
PAUSE_SECONDS = 3600.0
AGAIN_SECONDS = 300.0  # after a failure
Renew = Callable[[], datetime | None]
"""Renews when it is due; the end of the new certificate, None when it was not."""

_log = structlog.get_logger("messagebroker.certificates")


class CertificateKeeper:
    """The thread.

    Args:
        role: whose certificate it is, for the log.
        renew: what to do each time.
    """

    def __init__(self, role: str, renew: Renew) -> None:
        self._role = role
        self._renew = renew
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificate-keeper", daemon=True)

    def start(self) -> None:
        """Looks for the first time a few seconds later."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; a renewal that is under way is ended by the next start."""
        self._stop.set()
        self._thread.join(1.0)

    def round(self) -> float:
        """One look; the seconds until the next one."""
        try:
            ends = self._renew()
        except (ClientError, BrokerError, OSError) as error:
            _log.warning("the certificate cannot be renewed yet", role=self._role, error=str(error))
            return AGAIN_SECONDS
        if ends is not None:
            _log.info("renewed the certificate", role=self._role, until=ends.isoformat())
        return PAUSE_SECONDS

    def _run(self) -> None:
        pause = FIRST_SECONDS
        while not self._stop.wait(pause):
            try:
                pause = self.round()
            except Exception as error:  # noqa: BLE001 (the next look may succeed)
                pause = AGAIN_SECONDS
                _log.error("the certificate cannot be renewed", role=self._role, exc_info=error)


def from_own_ca(settings: Settings) -> Renew:
    """Main's way: it has the CA."""
    path = settings.path(settings.certs_dir) / "main.crt"

    def renew() -> datetime | None:
        if not is_due(path):
            return None
        old = pki.load_certificate(path.read_bytes())
        days = max(1, (old.not_valid_after_utc - old.not_valid_before_utc).days)
        return certificates.renew(settings, "main", days, domains=pki.domains_of(old)).issued.not_after

    return renew


def from_main(settings: Settings, role: str) -> Renew:
    """The other roles' way: a signing request to main, over a connection that shows the present certificate."""
    folder = settings.path(settings.certs_dir)
    certificate, key = folder / f"{role}.crt", folder / f"{role}.key"

    def renew() -> datetime | None:
        if not is_due(certificate):
            return None
        with ApiClient(settings.url_of("main"), cert=certificate, key=key, ca=folder / "ca.crt", timeout=10.0) as main:
            issued = main.renew_component_certificate()
        return issued.not_after if issued else None

    return renew
