"""The TLS side of a client: its certificate, its key and the one CA that it trusts."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

from messagebroker.client.errors import SetupError

CHECK_SECONDS = 1.0


class Identity:
    """A certificate, its key and the CA as an SSL context that takes up renewed files.

    The system's own CA is the only one trusted; without `cert` and `key` no certificate is shown.
    """

    def __init__(self, *, ca: Path | str, cert: Path | str | None = None, key: Path | str | None = None) -> None:
        if (cert is None) != (key is None):
            raise SetupError("give both `cert` and `key`, or neither")
        self.ca = Path(ca)
        self.pair = (Path(cert), Path(key)) if cert is not None and key is not None else None
        self.context = self._build()
        self._stamp = self._stamps()
        self._looked = time.monotonic()

    def reload(self) -> None:
        """Makes `context` anew: one that was changed in place could still show an old certificate of another kind of key."""
        stamp = self._stamps()
        self.context = self._build()
        self._stamp = stamp

    def refresh(self) -> None:
        """Uses renewed certificate files for connections from now on; looks at most once a second."""
        if self.pair is None or time.monotonic() - self._looked < CHECK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            stamp = self._stamps()
            if stamp != self._stamp:
                self._load_pair(self.context)
                self._stamp = stamp
        except (OSError, SetupError):
            return  # caught in the middle of a renewal: the old pair goes on, the next look tries again

    def _build(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._read(self.ca, lambda: context.load_verify_locations(self.ca))
        self._load_pair(context)
        return context

    def _load_pair(self, context: ssl.SSLContext) -> None:
        if self.pair is not None:
            cert, key = self.pair
            self._read(cert, lambda: context.load_cert_chain(cert, key))

    def _stamps(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in self.pair or () if path.exists())

    @staticmethod
    def _read(path: Path, load: object) -> None:
        assert callable(load)
        try:
            load()
        except FileNotFoundError as error:
            detail = f"{path} or its key does not exist; `messagebroker certs issue NAME` makes NAME.crt, NAME.key and ca.crt"
            raise SetupError(detail) from error
        except PermissionError as error:
            raise SetupError(f"{path} or its key may not be read by this user") from error
        except (ssl.SSLError, OSError) as error:
            raise SetupError(f"{path} is no usable PEM file, or its key belongs to another certificate: {error}") from error
