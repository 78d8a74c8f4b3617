"""A role renews its own certificate at two thirds of its life, in a thread; its server takes the files up by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from messagebroker.errors import BrokerError
from messagebroker.ops import certificates, clock, pki
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
        except (BrokerError, OSError) as error:
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
        old = pki.load_certificate(path.read_bytes())
        begins, ends = old.not_valid_before_utc, old.not_valid_after_utc
        if clock.now() < begins + (ends - begins) * 2 / 3:
            return None
        days = max(1, (ends - begins).days)
        return certificates.renew(settings, "main", days, domains=pki.domains_of(old)).issued.not_after

    return renew
