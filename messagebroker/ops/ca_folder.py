"""The CA's folder: its key, the policy signer's, every certificate it issued and every one it revoked.

It is complete by itself: the database mirrors it, so that issuing and revoking work while the database does not.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509

from messagebroker.errors import BrokerError, ConfigurationError, Refused
from messagebroker.ops import clock, pki
from messagebroker.ops.identity import POLICY_SIGNER, Kind, peer_of_certificate, serial_of
from messagebroker.ops.private_files import read_secret, write_public, write_secret
from messagebroker.settings import Settings

_SIGNER_RENEWAL = timedelta(days=30)
is_serial = re.compile(r"[0-9a-f]{1,40}").fullmatch

Status = Literal["valid", "revoked", "expired"]


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate that the CA issued, and what became of it."""

    serial: str
    kind: Kind
    name: str
    not_before: datetime
    not_after: datetime
    fingerprint: str
    domains: tuple[str, ...]
    pem: str
    revoked_at: datetime | None = None
    revoked_reason: str | None = None

    @property
    def status(self) -> Status:
        """As of now; a revoked one stays revoked after its end."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.not_after <= clock.now() else "valid"

    @property
    def days_left(self) -> int:
        """Whole days until it ends; negative after that."""
        return (self.not_after - clock.now()).days


class Revocation(msgspec.Struct, frozen=True):
    """What SERIAL.revoked holds."""

    at: datetime
    reason: str


class CaFolder:
    """CA_DIR. Files: ca.key, ca.crt, policy.key, policy.crt, issued/SERIAL.crt, issued/SERIAL.revoked."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.path(settings.ca_dir)
        self._organisation = settings.primary_domain

    @property
    def exists(self) -> bool:
        """Whether `certs init-ca` was finished here."""
        return (self.path / "ca.crt").exists()

    def create(self) -> pki.Pair:
        """A new CA.

        Raises:
            Refused: there is one.
        """
        if self.exists:
            raise Refused(f"there is a CA in {self.path}; a second one would cut off everybody who trusts the first")
        key_path = self.path / "ca.key"
        if key_path.exists():  # a first attempt ended between the two files
            key = pki.load_key(read_secret(key_path))
        else:
            key = pki.new_key()
            write_secret(key_path, pki.key_pem(key))
        made = pki.make_ca(key, self._organisation)
        write_public(self.path / "ca.crt", made.certificate_pem)
        return made

    @cached_property
    def ca(self) -> pki.Pair:
        """The CA's certificate and key.

        Raises:
            ConfigurationError: there is none here, or the files do not belong together.
        """
        if not self.exists:
            raise ConfigurationError(f"there is no CA in {self.path}; make one with `messagebroker certs init-ca`")
        return self._pair("ca")

    def put_beside(self, folder: Path) -> Path:
        """ca.crt in a folder where certificates go.

        Raises:
            Refused: another CA's is there.
        """
        path = folder / "ca.crt"
        ours = self.ca.certificate_pem
        if not path.exists():
            write_public(path, ours)
        elif path.read_bytes() != ours:
            raise Refused(f"{path} is the certificate of another CA; move it away or choose another folder")
        return path

    def signer(self) -> pki.Pair:
        """The policy signer; a fresh one when it is missing, near its end, revoked or of another CA."""
        try:
            found = self._pair(POLICY_SIGNER)
            pki.check_signed_by(self.ca.certificate, found.certificate)
        except BrokerError:
            return self._new_signer()
        near_end = found.certificate.not_valid_after_utc - clock.now() < _SIGNER_RENEWAL
        revoked = serial_of(found.certificate) in self.revoked()
        return self._new_signer() if near_end or revoked else found

    def record(self, certificate: x509.Certificate) -> Issued:
        """Keeps a copy of a certificate before anybody gets it, so that all of them can be revoked."""
        issued = describe(certificate)
        write_public(self.path / "issued" / f"{issued.serial}.crt", issued.pem.encode())
        return issued

    def record_revocation(self, serial: str, at: datetime, reason: str) -> None:
        """Keeps that a certificate is revoked; the first reason stays."""
        path = self._revocation_path(serial)
        if not path.exists():
            write_public(path, msgspec.json.encode(Revocation(at, reason)))

    def issued(self, *, but: Collection[str] = ()) -> list[Issued]:
        """Certificates of this CA, oldest first, without reading those whose serials are in `but`."""
        found = [self._read(path) for path in (self.path / "issued").glob("*.crt") if path.stem not in but]
        return sorted(found, key=lambda issued: (issued.not_before, issued.serial))

    def find(self, serial: str) -> Issued | None:
        """One of them; None when this folder knows nothing of it."""
        path = self.path / "issued" / f"{serial}.crt"
        return self._read(path) if is_serial(serial) and path.exists() else None

    def revoked(self) -> frozenset[str]:
        """Serials of everything that was revoked here."""
        serials = (path.stem for path in (self.path / "issued").glob("*.revoked"))
        return frozenset(serial for serial in serials if is_serial(serial))

    def revocation(self, serial: str) -> Revocation | None:
        """When and why a certificate was revoked, None when it was not."""
        path = self._revocation_path(serial)
        try:
            return msgspec.json.decode(path.read_bytes(), type=Revocation)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:  # damaged, but somebody did revoke it
            return Revocation(datetime.fromtimestamp(path.stat().st_mtime, UTC), "unreadable record")

    def _new_signer(self) -> pki.Pair:
        """Replaces the policy signer."""
        key = pki.new_key()
        signer = pki.Pair(pki.make_certificate(self.ca, "component", POLICY_SIGNER, key.public_key()), key)
        self.record(signer.certificate)
        write_secret(self.path / f"{POLICY_SIGNER}.key", signer.key_pem, overwrite=True)
        write_public(self.path / f"{POLICY_SIGNER}.crt", signer.certificate_pem, overwrite=True)
        return signer

    def _read(self, path: Path) -> Issued:
        try:
            issued = describe(pki.load_certificate(path.read_bytes()))
        except BrokerError as error:
            raise ConfigurationError(f"{path}: {error}; bring it back from a backup") from error
        revocation = self.revocation(issued.serial)
        if revocation is None:
            return issued
        return replace(issued, revoked_at=revocation.at, revoked_reason=revocation.reason)

    def _revocation_path(self, serial: str) -> Path:
        return self.path / "issued" / f"{serial}.revoked"

    def _pair(self, name: str) -> pki.Pair:
        try:
            return pki.Pair.parse(read_secret(self.path / f"{name}.crt"), read_secret(self.path / f"{name}.key"))
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.path / name}.crt and .key: {error}") from error


def describe(certificate: x509.Certificate) -> Issued:
    """A certificate of ours, not looked up anywhere."""
    peer = peer_of_certificate(certificate)
    return Issued(
        serial=peer.serial,
        kind=peer.kind,
        name=peer.name,
        not_before=peer.not_before,
        not_after=peer.not_after,
        fingerprint=peer.fingerprint,
        domains=pki.domains_of(certificate),
        pem=pki.certificate_pem(certificate).decode(),
    )
