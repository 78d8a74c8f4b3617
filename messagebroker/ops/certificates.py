"""What `messagebroker certs …` does: the CA's folder first, then the database, then the policy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from messagebroker.errors import BrokerError, NotFound, Refused, Unavailable
from messagebroker.ops import clock, pki, policy, registry
from messagebroker.ops.ca_folder import CaFolder, Issued
from messagebroker.ops.identity import POLICY_SIGNER, Kind
from messagebroker.ops.pair_files import PairFiles
from messagebroker.ops.private_files import read_secret, write_public, write_secret
from messagebroker.ops.signing import check_holder, domains_for, sign_request
from messagebroker.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What a holder gets: its files, ready to hand over."""

    certificate: Path
    key: Path | None  # None: the holder made it, and sent a signing request
    ca: Path
    issued: Issued
    notes: tuple[str, ...] = ()  # what has yet to happen, in sentences for the operator


def init_ca(settings: Settings) -> Path:
    """Makes the CA and its policy signer; the path of the CA's certificate.

    Raises:
        Refused: there is a CA.
    """
    folder = CaFolder(settings)
    folder.create()
    folder.signer()
    return folder.put_beside(settings.path(settings.certs_dir))


def issue(
    settings: Settings,
    name: str,
    kind: str = "client",
    domains: Iterable[str] = (),
    days: int = pki.LEAF_DAYS,
    out: Path | None = None,
    *,
    csr_pem: bytes | None = None,
    announce: bool = True,
) -> Bundle:
    """A new key and certificate for a client or a component, in `out` or CERTS_DIR; with `csr_pem` for the holder's own key.

    Works without the database and Redis; the notes say what happens later. Without `announce` neither is tried: the
    caller does that once for many, by `register_issued`.

    Raises:
        Refused: no such holder can be, or there is a certificate of that name.
    """
    holder = check_holder(kind, name)
    files = PairFiles(out or settings.path(settings.certs_dir), name)
    if files.certificate.exists():
        raise Refused(f"{files.certificate} exists; `messagebroker certs renew {name}` replaces it, --out writes elsewhere")
    order = _Order(holder, name, domains_for(settings, holder, domains), days, csr_pem)
    return _made(settings, order, files, overwrite=False, announce=announce)


def renew(
    settings: Settings,
    name: str,
    days: int = pki.LEAF_DAYS,
    out: Path | None = None,
    *,
    domains: Iterable[str] = (),
    csr_pem: bytes | None = None,
    announce: bool = True,
) -> Bundle:
    """A new key and certificate for a holder that has one: same name, same kind, same domains and what is added to them.

    With `csr_pem` it is the holder's own key.

    The earlier certificate stays valid until its end, so that both ends can change over without a gap.

    Raises:
        NotFound: the holder never had one.
        Refused: all of them were revoked.
    """
    if name == POLICY_SIGNER:
        raise Refused("the policy signer renews itself; `messagebroker certs revoke policy` replaces it")
    trusted = [one for one in show(settings, name) if one.status != "revoked"]
    if not trusted:
        raise Refused(
            f"every certificate of {name} was revoked; if it shall come back, move its files away and"
            f" `messagebroker certs issue {name}`"
        )
    files = PairFiles(out or settings.path(settings.certs_dir), name)
    all_domains = tuple(dict.fromkeys((*trusted[-1].domains, *domains)))
    order = _Order(trusted[-1].kind, name, all_domains, days, csr_pem)
    return _made(settings, order, files, overwrite=True, announce=announce)


def revoke(settings: Settings, name: str, reason: str = "", serial: str | None = None) -> int:
    """Revokes all certificates of a holder, or the one with that serial; the number of the policy that says so.

    Returns after publication: from then on every server refuses them within a second. May be repeated.
    The policy signer's place is taken by a new one at once.

    Raises:
        NotFound: there is no such certificate that is still valid.
        Unavailable: revoked for good in the CA's folder, but not published yet.
    """
    folder = CaFolder(settings)
    chosen = [one for one in show(settings, name) if one.status != "expired" and serial in (None, one.serial)]
    if not chosen:
        raise NotFound(f"{name} has no certificate that is still valid" + (f" with serial {serial}" if serial else ""))
    for one in chosen:
        folder.record_revocation(one.serial, clock.now(), reason)
    try:
        return _published(settings)
    except Unavailable as error:
        raise Unavailable(
            f"{name} is revoked in the CA's folder, but the servers do not know it yet ({error}); main publishes it as"
            " soon as it can, or repeat this command"
        ) from error


def register_issued(settings: Settings) -> bool:
    """Brings what the CA's folder knows into the database; whether anything was new. May be repeated at any time.

    Raises:
        Unavailable: the database does not answer, or was not upgraded yet.
    """
    folder = CaFolder(settings)
    with registry.session(settings):
        known = registry.serials()
        new = folder.issued(but=known)
        for issued in new:
            registry.register(issued)
        revoked = [serial for serial in folder.revoked() if not known.get(serial, False)]
        for serial in revoked:
            if revocation := folder.revocation(serial):
                registry.revoke(serial, revocation)
    return bool(new or revoked)


def list_all(settings: Settings) -> list[Issued]:
    """Every certificate, oldest first, from the CA's folder and, where it answers, the database."""
    found = {one.serial: one for one in CaFolder(settings).issued()}
    try:
        with registry.session(settings):
            rows = registry.certificates()
    except Unavailable:
        rows = {}
    for serial, row in rows.items():
        if serial not in found or found[serial].revoked_at is None:
            found[serial] = row
    return sorted(found.values(), key=lambda one: (one.not_before, one.serial))


def show(settings: Settings, name: str) -> list[Issued]:
    """All certificates of a holder, oldest first.

    Raises:
        NotFound: there is none.
    """
    found = [one for one in list_all(settings) if one.name == name]
    if not found:
        raise NotFound(f"no certificate was issued to {name!r}; `messagebroker certs list --all` shows every one")
    return found


def crl(settings: Settings) -> bytes:
    """The certificate revocation list in PEM, signed now, for systems that want one."""
    revoked = [(one.serial, one.revoked_at) for one in list_all(settings) if one.revoked_at is not None]
    return pki.make_crl(CaFolder(settings).ca, revoked, number=int(clock.now().timestamp()))


@dataclass(frozen=True)
class _Order:
    kind: Kind
    name: str
    domains: tuple[str, ...]
    days: int
    csr_pem: bytes | None


def _made(settings: Settings, order: _Order, files: PairFiles, *, overwrite: bool, announce: bool) -> Bundle:
    folder = CaFolder(settings)
    if order.csr_pem is not None:
        if files.key.exists():
            raise Refused(f"{files.key} is there, and the request is for a key made elsewhere; --out writes to another folder")
        ca = folder.put_beside(files.folder)
        issued = sign_request(settings, order.name, order.csr_pem, order.days, order.kind, domains=order.domains)
        write_public(files.certificate, issued.pem.encode(), overwrite=overwrite)
    else:
        issued, ca = _made_with_key(folder, order, files, overwrite=overwrite)
    return Bundle(
        certificate=files.certificate,
        key=files.key if order.csr_pem is None else None,
        ca=ca,
        issued=issued,
        notes=_announced(settings, issued) if announce else (),
    )


def _made_with_key(folder: CaFolder, order: _Order, files: PairFiles, *, overwrite: bool) -> tuple[Issued, Path]:
    resumed = files.key.exists() and not overwrite  # an earlier attempt ended between the two files
    key = pki.load_key(read_secret(files.key)) if resumed else pki.new_key()
    certificate = pki.make_certificate(
        folder.ca, order.kind, order.name, key.public_key(), domains=order.domains, days=order.days
    )
    ca = folder.put_beside(files.folder)
    issued = folder.record(certificate)  # first, so that there is no certificate that cannot be revoked
    if overwrite:
        files.replace(issued.pem.encode(), pki.key_pem(key))
    else:
        if not resumed:
            write_secret(files.key, pki.key_pem(key))
        write_public(files.certificate, issued.pem.encode())
    return issued, ca


def _announced(settings: Settings, issued: Issued) -> tuple[str, ...]:
    """Registers, and for clients publishes; what did not work, as sentences."""
    try:
        register_issued(settings)
    except Unavailable as error:
        return (f"not in the database yet: {error}. `messagebroker db upgrade` or main's next start registers it",)
    if issued.kind == "component":
        return ()
    try:
        policy.publish_if_changed(settings)
    except BrokerError as error:
        return (f"the servers do not know the client yet: {error}. Main publishes it within a minute of running",)
    return ()


def _published(settings: Settings) -> int:
    try:
        register_issued(settings)
    except Unavailable:
        return policy.publish_revocations(settings)
    return policy.publish(settings)
