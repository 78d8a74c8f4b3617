"""The portal's TLS context: the component's certificate, taken up again when it is renewed."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

from messagebroker.client.renewal import finish
from messagebroker.errors import ConfigurationError
from messagebroker.settings import Settings

MONITORING = ("URI", "urn:messagebroker:component:monitoring")
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class ServerCertificate:
    """portal.crt and portal.key as an SSL context; a monitoring system may show a certificate, browsers need none."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.path(settings.certs_dir)
        self.pair = (folder / "portal.crt", folder / "portal.key")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers(CIPHERS)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        with suppress(OSError):
            finish(*self.pair)  # a renewal that was interrupted
        try:
            self.context.load_verify_locations(folder / "ca.crt")
            self._load()
        except (OSError, ssl.SSLError) as error:
            command = "messagebroker certs issue portal --kind component"
            raise ConfigurationError(
                f"cannot use portal.crt, portal.key and ca.crt in {folder}: {error}; `{command}`"
            ) from error

    def refresh(self) -> bool:
        """Uses renewed files for connections from now on; True when there were some."""
        try:
            if self._stamps(self.pair) == self.stamps:
                return False
            self._load()
        except (OSError, ssl.SSLError):  # in the middle of a renewal: the old pair goes on, the next look tries again
            return False
        return True

    def _load(self) -> None:
        self.stamps = self._stamps(self.pair)
        self.context.load_cert_chain(*self.pair)

    @staticmethod
    def _stamps(paths: tuple[Path, ...]) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in paths)


def is_monitoring(tls: ssl.SSLObject | None) -> bool:
    """Whether the peer showed the monitoring system's certificate (verified against the CA in the handshake)."""
    shown = tls.getpeercert() if tls is not None else None
    if not shown:
        return False
    names = shown.get("subjectAltName", ())
    return [name for name in names if isinstance(name, tuple) and name[0] == "URI"] == [MONITORING]
