"""A certificate and its key as two files that change together, although no system replaces two files at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from messagebroker.errors import BrokerError
from messagebroker.ops import pki
from messagebroker.ops.private_files import write_public, write_secret


@dataclass(frozen=True)
class PairFiles:
    """NAME.crt and NAME.key in a folder.

    They are replaced in this order: the new certificate beside the old one (`.NAME.crt.next`), the key, the certificate.
    Whoever dies in between leaves what `finish` needs to go on. `messagebroker.client.renewal` does the same.
    """

    folder: Path
    name: str

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / f"{self.name}.key"

    @property
    def certificate(self) -> Path:
        """The certificate."""
        return self.folder / f"{self.name}.crt"

    @property
    def _next(self) -> Path:
        return self.folder / f".{self.name}.crt.next"

    def replace(self, certificate: bytes, key: bytes) -> None:
        """Puts a new pair in place of one that may be there."""
        write_public(self._next, certificate, overwrite=True)
        write_secret(self.key, key, overwrite=True)
        self.finish()

    def finish(self) -> None:
        """Ends a replacement that was interrupted; nothing when there was none, or when it had not reached the key."""
        try:
            certificate = self._next.read_bytes()
        except FileNotFoundError:
            return
        try:
            pki.Pair.parse(certificate, self.key.read_bytes())
        except (BrokerError, FileNotFoundError):
            pass
        else:
            write_public(self.certificate, certificate, overwrite=True)
        self._next.unlink(missing_ok=True)
