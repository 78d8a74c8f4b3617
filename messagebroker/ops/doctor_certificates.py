"""Doctor: the CA, and the certificate and key of every component on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from messagebroker.errors import BrokerError
from messagebroker.ops import clock, pki
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.findings import Finding, Findings
from messagebroker.ops.identity import peer_of_certificate
from messagebroker.ops.private_files import is_private
from messagebroker.roles import ROLES
from messagebroker.settings import Settings

_SOON = timedelta(days=30)
_findings = Findings("certificates")


def check(settings: Settings) -> Iterator[Finding]:
    """Chain, key, end, identity, names and rights."""
    trusted = settings.path(settings.certs_dir) / "ca.crt"
    if not trusted.exists():
        yield _findings.error(f"{trusted} is missing", "`messagebroker certs init-ca` here, or copy it from the main server")
        return
    try:
        ca = pki.load_certificate(trusted.read_bytes())
    except BrokerError as error:
        yield _findings.error(f"{trusted}: {error}", "copy ca.crt from the main server")
        return
    yield _end(ca, f"the CA ({trusted})", "a new CA means new certificates for everybody: plan it")
    folder = CaFolder(settings)
    if folder.exists:
        yield from _authority(folder, ca)
    revoked = frozenset(folder.revoked()) if folder.exists else frozenset[str]()
    for role in ROLES:
        if role.has_certificate:
            yield from _component(settings, role.name, ca, revoked)
    if folder.exists:
        yield from _clients(folder)


def _authority(folder: CaFolder, trusted: x509.Certificate) -> Iterator[Finding]:
    try:
        pair = folder.ca
    except BrokerError as error:
        yield _findings.error(f"the CA in {folder.path}: {error}", "bring the folder back from a backup")
        return
    if pair.certificate != trusted:
        yield _findings.error(f"ca.crt in CERTS_DIR is not the CA in {folder.path}", "copy ca.crt from the CA's folder over it")
    yield from _rights(folder.path / "ca.key")
    yield from _rights(folder.path / "policy.key")


def _component(settings: Settings, name: str, ca: x509.Certificate, revoked: frozenset[str]) -> Iterator[Finding]:
    certificate_path, key_path = (settings.path(settings.certs_dir) / f"{name}.{ending}" for ending in ("crt", "key"))
    renew = f"`messagebroker certs renew {name}`"
    if not certificate_path.exists() and not key_path.exists():
        fix = f"`messagebroker certs issue {name} --kind component`, unless {name} runs on another machine"
        yield _findings.warning(f"{name} has no certificate on this machine", fix)
        return
    try:
        pair = pki.Pair.parse(certificate_path.read_bytes(), key_path.read_bytes())
        pki.check_signed_by(ca, pair.certificate)
        peer = peer_of_certificate(pair.certificate)
    except OSError as error:
        yield _findings.error(f"{name}: cannot read {error.filename}: {error.strerror}", renew)
        return
    except BrokerError as error:
        yield _findings.error(f"{name}: {certificate_path}: {error}", renew)
        return
    if (peer.kind, peer.name) != ("component", name):
        yield _findings.error(f"{name}: {certificate_path} stands for {peer.kind}:{peer.name}", renew)
    if peer.serial in revoked:
        yield _findings.error(
            f"{name}: its certificate was revoked", f"`messagebroker certs issue {name} --kind component --out FOLDER`"
        )
    if settings.primary_domain not in pki.domains_of(pair.certificate):
        text = f"{name}: its certificate is not good for {settings.primary_domain} (PRIMARY_DOMAIN)"
        yield _findings.warning(text, "`messagebroker setup` renews it with that name, and so does the next `messagebroker up`")
    yield _end(pair.certificate, name, renew)
    yield from _rights(key_path)


def _end(certificate: x509.Certificate, what: str, fix: str) -> Finding:
    left = certificate.not_valid_after_utc - clock.now()
    day = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    if left <= timedelta(0):
        return _findings.error(f"{what}: the certificate ended on {day}", fix)
    if certificate.not_valid_before_utc > clock.now():
        return _findings.error(
            f"{what}: the certificate begins only on {certificate.not_valid_before_utc:%Y-%m-%d}", "set the clock"
        )
    if left < _SOON:
        return _findings.warning(f"{what}: the certificate ends in {left.days} days, on {day}", fix)
    return _findings.ok(f"{what}: the certificate is good until {day}")


def _rights(path: Path) -> Iterator[Finding]:
    if path.exists() and not is_private(path):
        yield _findings.error(f"others on this machine may read the private key {path}", f"chmod 600 {path}")


def _clients(folder: CaFolder) -> Iterator[Finding]:
    """Those whose newest certificate ends soon."""
    by_end = sorted((issued for issued in folder.issued() if issued.kind == "client"), key=lambda issued: issued.not_after)
    newest = {issued.name: issued for issued in by_end}
    for issued in newest.values():
        if issued.status == "valid" and issued.not_after - clock.now() < _SOON:
            text = f"client {issued.name}: its newest certificate ends in {issued.days_left} days"
            yield _findings.warning(text, f"`messagebroker certs renew {issued.name}`, and hand it over")
