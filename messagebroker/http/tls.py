"""The TLS side of a server: which certificate it shows, which ones it believes, and taking up renewed files."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from cryptography import x509

from messagebroker.errors import ConfigurationError
from messagebroker.ops import metrics
from messagebroker.ops.pair_files import PairFiles
from messagebroker.settings import Settings

log = logging.getLogger(__name__)

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has nothing weaker."""

Stamps = tuple[tuple[int, int], ...]


class ServerTLS:
    """The context for new connections. `refresh` builds another one when the files have changed.

    A context is never changed in place: half-written files would leave it with a certificate that does not
    match its key. A new context also has new ticket keys, so a session from before a CA change cannot be resumed.
    """

    def __init__(self, certificate: Path, key: Path, authority: Path) -> None:
        self.certificate = certificate
        self.key = key
        self.authority = authority
        self._in_use = self._seen = self._read_stamps()
        self._complaint = ""
        self.current = self._build()

    def refresh(self) -> bool:
        """Takes up changed files; True when it did. Called every half second by the server's loop.

        A change counts when it is there at two looks, so that no half-written pair is read. Files that do not fit
        together are left alone: the certificate in use goes on, and the error is logged once.
        """
        try:
            stamps = self._read_stamps()
            settled = stamps == self._seen
            self._seen = stamps
            if stamps == self._in_use or not settled:
                return False
            self._in_use = stamps
            self.current = self._build()
        except ConfigurationError as error:
            self._complain(str(error))
            return False
        self._complaint = ""
        log.info("took up the changed certificate %s", self.certificate)
        return True

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            log.error("the old certificate stays in use: %s", text)
        self._complaint = text

    def _read_stamps(self) -> Stamps:
        return tuple(_stamp(path) for path in (self.certificate, self.key, self.authority))

    def _build(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        # Asked for and verified when shown; who may do what without one is the application's decision. OpenSSL
        # also checks here that the certificate is meant for clients.
        context.verify_mode = ssl.CERT_OPTIONAL
        # One ticket is enough for one client; a resumed session carries the client's certificate, and the policy
        # and its expiry are checked at every request, so resumption cannot outlive a revocation.
        context.num_tickets = 1
        try:
            context.load_verify_locations(self.authority)
            context.load_cert_chain(self.certificate, self.key)
            end = x509.load_pem_x509_certificate(self.certificate.read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"cannot use {self.certificate} with {self.key} and {self.authority}: {error}; {_remedy(self.certificate)}"
            ) from error
        metrics.CERTIFICATE_ENDS.labels(self.certificate.stem).set(end.timestamp())
        return context


def server_context(settings: Settings, role: str) -> ServerTLS:
    """What the server of `role` shows: ROLE.crt with ROLE.key; what it believes: what ca.crt signed.

    Raises:
        ConfigurationError: a file is missing, unreadable, or does not match the others.
    """
    folder = settings.path(settings.certs_dir)
    PairFiles(folder, role).finish()  # a renewal that was interrupted
    return ServerTLS(folder / f"{role}.crt", folder / f"{role}.key", folder / "ca.crt")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; {_remedy(path)}") from error
    return found.st_mtime_ns, found.st_size


def _remedy(path: Path) -> str:
    command = "init-ca" if path.stem == "ca" else f"issue {path.stem} --kind component"
    return f"`messagebroker certs {command}` makes it"
