"""A certificate authority for tests: what a real one issues, and what an attacker might show instead."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from messagebroker.ops.pki import Pair

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, as files."""

    crt: Path
    key: Path
    der: bytes
    serial: str

    @property
    def both(self) -> tuple[str, str]:
        """As requests, httpx and ssl want them."""
        return str(self.crt), str(self.key)


class Authority:
    """A CA in a folder of its own: `ca.crt` and whatever it issues, by file name."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = (
            self._builder(self.name, self.key.public_key(), days=3650)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
        )
        self.crt = folder / "ca.crt"
        self.crt.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))

    @classmethod
    def of(cls, ca: Pair, folder: Path) -> Self:
        """An installation's own CA, to issue what the product would not; the files go into `folder`."""
        made = cls.__new__(cls)
        folder.mkdir(parents=True, exist_ok=True)
        made.folder, made.key, made.name, made.crt = folder, ca.key, ca.certificate.subject, folder / "ca.crt"
        made.crt.write_bytes(ca.certificate_pem)
        return made

    def client(self, name: str, **options: object) -> Issued:
        """A sender's certificate."""
        return self.issue(name, uris=[f"urn:messagebroker:client:{name}"], usages=[CLIENT], **options)  # type: ignore[arg-type]

    def component(self, role: str, **options: object) -> Issued:
        """A role's certificate: good for localhost (and `names`), and as a client towards other roles."""
        uris = [f"urn:messagebroker:component:{role}"]
        return self.issue(role, uris=uris, usages=[SERVER, CLIENT], hosts=True, **options)  # type: ignore[arg-type]

    def expired(self, name: str) -> Issued:
        """A sender's certificate that ended an hour ago."""
        return self.client(name, start=datetime.now(UTC) - timedelta(days=2), seconds=2 * 86_400 - 3600)

    def server_only(self, name: str) -> Issued:
        """A sender's identity in a certificate that may only be a server's."""
        return self.issue(name, uris=[f"urn:messagebroker:client:{name}"], usages=[SERVER], hosts=True)

    def nameless(self, name: str) -> Issued:
        """A good client certificate without any identity of ours."""
        return self.issue(name, uris=[], usages=[CLIENT])

    def issue(
        self,
        name: str,
        *,
        uris: list[str],
        usages: list[x509.ObjectIdentifier],
        hosts: bool = False,
        names: Sequence[str] = (),
        start: datetime | None = None,
        days: int = 365,
        seconds: float | None = None,
        cn: str | None = None,
        file: str | None = None,
    ) -> Issued:
        """Any certificate; `file` names the files when not `name`, and existing ones are replaced."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn or name)])
        builder = self._builder(subject, key.public_key(), days=days, start=start, seconds=seconds)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        good_for: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        good_for += [x509.DNSName(dns) for dns in names]
        if hosts:
            good_for += [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")), x509.IPAddress(ip_address("::1"))]
        if good_for:
            builder = builder.add_extension(x509.SubjectAlternativeName(good_for), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        crt, key_file = self.folder / f"{file or name}.crt", self.folder / f"{file or name}.key"
        crt.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Issued(crt, key_file, certificate.public_bytes(Encoding.DER), f"{certificate.serial_number:x}")

    def _builder(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        *,
        days: int,
        start: datetime | None = None,
        seconds: float | None = None,
    ) -> x509.CertificateBuilder:
        start = start or datetime.now(UTC) - timedelta(minutes=5)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(next(_numbers) << 64 | x509.random_serial_number() >> 96)
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days) if seconds is None else start + timedelta(seconds=seconds))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
