"""The next certificate of whoever holds one: the key is made here, only a signing request leaves, files change together."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from messagebroker.client.answers import IssuedCertificate
from messagebroker.client.calls import JSON, Call, as_json, reader
from messagebroker.client.errors import SetupError
from messagebroker.client.tls import Identity

OF_CLIENTS = "/api/v1/certificates/renew"  # on a proxy
OF_COMPONENTS = "/api/v1/components/certificate"  # on main
T = TypeVar("T")
_ISSUED = reader(IssuedCertificate)
_UNDER_WAY_SECONDS = 60.0
_BUSY_SECONDS = 5.0


def is_due(certificate: Path) -> bool:
    """Whether two thirds of its life are over.

    Raises:
        SetupError: the file is no certificate.
    """
    found = _certificate(certificate)
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    return datetime.now(UTC) >= begins + (ends - begins) * 2 / 3


@dataclass(frozen=True)
class Renewal:
    """A renewal that was begun: `call` is to be run, and its answer to be stored."""

    identity: Identity
    pair: tuple[Path, Path]
    key: ec.EllipticCurvePrivateKey
    call: Call[IssuedCertificate]

    @classmethod
    def begin(cls, identity: Identity, path: str) -> Renewal:
        """A fresh key, and the request for its certificate.

        Raises:
            SetupError: there is no certificate that could be renewed.
        """
        if identity.pair is None:
            raise SetupError("only who shows a certificate can renew it: give `cert` and `key`")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateSigningRequestBuilder().subject_name(_certificate(identity.pair[0]).subject)
        csr = builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()
        # repeatable: the same key gets the same certificate again
        call = Call(method="POST", path=path, read=_ISSUED, headers={"content-type": JSON}, content=as_json({"csr": csr}))
        return cls(identity, identity.pair, key, call)

    def store(self, issued: IssuedCertificate) -> None:
        """Checks what came, puts it in place of the old pair, and has the identity use it.

        Raises:
            SetupError: it is not what was asked for, or cannot be written; the old pair stays.
        """
        pem = issued.certificate.encode()
        self._check(pem)
        certificate, key = self.pair
        try:
            _write(certificate.with_name(f".{certificate.name}.next-{secrets.token_hex(4)}"), pem, 0o644)
            private = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            _replace(key, private, 0o600)
            finish(certificate, key)
        except OSError as error:
            raise SetupError(f"the renewed certificate cannot be stored: {error}") from error
        with suppress(SetupError):  # another process is replacing the pair at this instant: the next look takes that one up
            self.identity.reload()

    def _check(self, pem: bytes) -> None:
        """A broken proxy must not lock its client out."""
        old = _certificate(self.pair[0])
        try:
            new = x509.load_pem_x509_certificate(pem)
            new.verify_directly_issued_by(x509.load_pem_x509_certificate(self.identity.ca.read_bytes()))
            is_for_us = _public(new.public_key()) == _public(self.key.public_key()) and _uris(new) == _uris(old)
        except (ValueError, TypeError, InvalidSignature, OSError) as error:
            raise SetupError(f"what came as renewed certificate is none of the CA's in {self.identity.ca}") from error
        if not is_for_us or new.not_valid_after_utc <= datetime.now(UTC):
            raise SetupError("what came as renewed certificate is not for this client and the key that was made")


def finish(certificate: Path, key: Path) -> None:
    """Ends a renewal that was interrupted between the two files; what had not reached the key is forgotten.

    The new certificate waits beside the old one until the key is replaced: no system replaces two files at once.
    """
    for path in sorted(certificate.parent.glob(f".{certificate.name}.next-*")):
        _patiently(partial(_finish_one, path, certificate, key))


def _finish_one(path: Path, certificate: Path, key: Path) -> None:
    with suppress(FileNotFoundError):  # another process was faster
        pem = path.read_bytes()
        if _belong_together(pem, key):
            _replace(certificate, pem, 0o644)
        elif time.time() - path.stat().st_mtime < _UNDER_WAY_SECONDS:
            return  # another process is about to replace the key
        path.unlink()


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_patiently(path.read_bytes))
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} is no certificate in PEM: {error}") from error


def _belong_together(pem: bytes, key: Path) -> bool:
    try:
        public = load_pem_private_key(key.read_bytes(), password=None).public_key()
        return _public(x509.load_pem_x509_certificate(pem).public_key()) == _public(public)
    except (ValueError, TypeError):
        return False


def _public(key: object) -> bytes:
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    found: bytes = key.public_bytes(*form)  # type: ignore[attr-defined]  # every kind of key has it
    return found


def _uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _replace(path: Path, data: bytes, mode: int) -> None:
    """The file as a whole or not at all, with the owner and the readers of the one before."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        before = path.stat() if path.exists() else None
        _write(draft, data, mode)
        if before is not None and os.name == "posix":
            draft.chmod(mode | (before.st_mode & 0o040))
            if (before.st_uid, before.st_gid) != (draft.stat().st_uid, draft.stat().st_gid):
                os.chown(draft, before.st_uid, before.st_gid)
        _patiently(partial(draft.replace, path))
    finally:
        draft.unlink(missing_ok=True)


def _write(path: Path, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _patiently(act: Callable[[], T]) -> T:
    """Windows refuses to replace, remove or open a file that another process is at, which lasts for moments."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return act()
        except PermissionError:
            if os.name == "posix" or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.02, 0.1))  # nosec B311 # noqa: S311 spreads load, guards nothing
