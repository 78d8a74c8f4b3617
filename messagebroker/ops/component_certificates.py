"""The certificates that roles show each other: issued where one is missing, renewed where it no longer serves."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from messagebroker.errors import BrokerError, NotFound, Refused
from messagebroker.ops import certificates, clock, pki
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.identity import serial_of
from messagebroker.ops.pair_files import PairFiles
from messagebroker.ops.private_files import read_secret
from messagebroker.roles import ROLES, Role
from messagebroker.settings import Settings

MONITORING = "monitoring"
"""Of a program that is not ours. A folder of this name in ROOT, where there is one, gets its certificate."""
COMPONENTS = (*(role.name for role in ROLES if role.has_certificate), MONITORING)
RENEW_BEFORE = timedelta(days=30)


def ensure(settings: Settings, domains: Collection[str] = ()) -> list[str]:
    """The CA, and for every component a certificate that is good for a month and for all its names; who got a new one.

    Raises:
        Refused: a domain is none, a certificate is not of this CA, or every one of a component was revoked.
    """
    if not (settings.path(settings.ca_dir) / "ca.crt").exists():
        certificates.init_ca(settings)
    ca = CaFolder(settings).ca.certificate
    return [name for name in COMPONENTS if _ensure(settings, name, ca, (*domains, *_names_of(settings, name)))]


def renewed_itself(settings: Settings, role: Role, home: Path) -> frozenset[Path]:
    """The certificate and key in a role's home, relative to it, when it renewed them since: better than main's copy."""
    folder = home / settings.certs_dir
    if not role.has_certificate or folder.is_symlink() or not _is_newer(settings, role.name, folder):
        return frozenset()
    return frozenset({settings.certs_dir / f"{role.name}.crt", settings.certs_dir / f"{role.name}.key"})


def _is_newer(settings: Settings, name: str, folder: Path) -> bool:
    authority = CaFolder(settings)
    if not authority.exists:
        return False
    try:
        theirs = PairFiles(folder, name).read().certificate
        ours = pki.load_certificate(read_secret(settings.path(settings.certs_dir) / f"{name}.crt"))
        issued = authority.find(serial_of(theirs))
    except (BrokerError, OSError):
        return False
    if issued is None or issued.pem.encode() != pki.certificate_pem(theirs):
        return False
    is_good = (issued.kind, issued.name, issued.status) == ("component", name, "valid")
    has_names = set(pki.domains_of(ours)) <= set(issued.domains)  # `setup --domain` may have added some since
    return is_good and has_names and issued.not_after > ours.not_valid_after_utc


def _names_of(settings: Settings, name: str) -> list[str]:
    """What others call the component: the name of the installation, and the host in MAIN_SERVER_URL and its like."""
    url = getattr(settings, {"main": "main_server_url"}.get(name, f"{name}_url"), None)
    host = urlsplit(url).hostname if url else None
    return [settings.primary_domain, *([host] if host else [])]


def _ensure(settings: Settings, name: str, ca: x509.Certificate, domains: Iterable[str]) -> bool:
    domains = pki.normal_domains(domains)
    path = settings.path(settings.certs_dir) / f"{name}.crt"
    if not path.exists():
        certificates.issue(settings, name, "component", domains, announce=False)
        return True
    if _serves(path, ca, domains):
        return False
    try:
        certificates.renew(settings, name, domains=domains, announce=False)
    except NotFound as error:
        raise Refused(f"{path} is none of this CA's certificates; move it and its key away, then run this again") from error
    return True


def _serves(path: Path, ca: x509.Certificate, domains: Collection[str]) -> bool:
    try:
        certificate = pki.Pair.parse(path.read_bytes(), path.with_suffix(".key").read_bytes()).certificate
        pki.check_signed_by(ca, certificate)
    except (BrokerError, FileNotFoundError):
        return False
    ends = certificate.not_valid_after_utc
    ends_soon = ends - clock.now() < RENEW_BEFORE and ends < ca.not_valid_after_utc  # none outlives the CA
    return not ends_soon and set(domains) <= set(pki.domains_of(certificate))
