"""A certificate and its key as two files that change together, although no system replaces two files at once."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from messagebroker.errors import BrokerError
from messagebroker.ops import pki
from messagebroker.ops.private_files import read_secret, write_public, write_secret

_UNDER_WAY_SECONDS = 60.0


@dataclass(frozen=True)
class PairFiles:
    """NAME.crt and NAME.key in a folder.

    They are replaced in this order: the new certificate beside the old one (`.NAME.crt.next-…`), the key, the certificate.
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

    def read(self) -> pki.Pair:
        """Both.

        Raises:
            ConfigurationError: one is missing or cannot be read, or they do not belong together.
        """
        return pki.Pair.parse(read_secret(self.certificate), read_secret(self.key))

    def replace(self, certificate: bytes, key: bytes) -> None:
        """Puts a new pair in place of one that may be there."""
        write_public(self.folder / f".{self.name}.crt.next-{secrets.token_hex(4)}", certificate, overwrite=True)
        write_secret(self.key, key, overwrite=True)
        self.finish()

    def finish(self) -> None:
        """Ends a replacement that was interrupted; what had not reached the key is forgotten."""
        for path in sorted(self.folder.glob(f".{self.name}.crt.next-*")):
            try:
                certificate = path.read_bytes()
                if self._is_for_our_key(certificate):
                    write_public(self.certificate, certificate, overwrite=True)
                elif time.time() - path.stat().st_mtime < _UNDER_WAY_SECONDS:
                    continue  # another process is about to replace the key
                path.unlink()
            except FileNotFoundError:
                continue  # another process was faster

    def _is_for_our_key(self, certificate: bytes) -> bool:
        try:
            pki.Pair.parse(certificate, self.key.read_bytes())
        except BrokerError:
            return False
        return True
