"""`messagebroker certs …`: the certificate authority. Works with main stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from messagebroker.cli.actor import this_user
from messagebroker.errors import NotFound, Unavailable
from messagebroker.ops import audit, certificates, homes, keyring, registry
from messagebroker.ops.ca_folder import Issued
from messagebroker.ops.certificates import Bundle
from messagebroker.ops.pki import LEAF_DAYS
from messagebroker.ops.private_files import write_public
from messagebroker.settings import Settings, load

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="A client's name, or a component's.")]
Days = Annotated[int, typer.Option(help="How long it is valid.", min=1)]
Out = Annotated[Path | None, typer.Option(help="A folder for the files instead of CERTS_DIR.", file_okay=False)]
Csr = Annotated[
    Path | None,
    typer.Option("--csr", help="A signing request (PEM): the key stays where it was made.", dir_okay=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

_COLOURS = {"valid": "green", "revoked": "red", "expired": "yellow"}


@app.command("init-ca")
def init_ca() -> None:
    """Make the CA, and the secrets of a new installation that are missing. Once; it refuses to replace a CA.

    Prints the recovery key, which is stored nowhere: keep it away from this machine. It opens the secrets in backups.

    Example: messagebroker certs init-ca
    """
    settings = load()
    path = certificates.init_ca(settings)
    recovery_key = keyring.first_secrets(settings)
    typer.echo(f"CA certificate  {path}")
    if recovery_key:
        typer.echo(
            f"recovery key    {recovery_key}\n                shown only now; without it, secrets in backups cannot be opened"
        )


@app.command()
def issue(
    name: Name,
    kind: Annotated[str, typer.Option(help="client or component.")] = "client",
    domain: Annotated[list[str] | None, typer.Option(help="A further host name or address; may be repeated.")] = None,
    days: Days = LEAF_DAYS,
    out: Out = None,
    csr: Csr = None,
) -> None:
    """Issue a key and a certificate: NAME.crt, NAME.key and ca.crt, ready to hand over. Overwrites nothing.

    With --csr only the certificate, for the key that the request is signed with; what else the request says is ignored.

    Example: messagebroker certs issue warehouse-7
    Example: messagebroker certs issue warehouse-7 --csr warehouse-7.csr
    Example: messagebroker certs issue proxy --kind component --domain proxy.example.org
    """
    settings = load()
    bundle = certificates.issue(settings, name, kind, domain or (), days, out, csr_pem=_read(csr))
    _audit(settings, "certificate.issue", bundle.issued)
    _tell(bundle)


@app.command()
def renew(name: Name, days: Days = LEAF_DAYS, out: Out = None, csr: Csr = None) -> None:
    """Issue a new key and certificate to a holder that has one, in place of its files. The earlier one stays valid.

    With --csr only a new certificate, for the key that the request is signed with.

    Example: messagebroker certs renew warehouse-7
    Example: messagebroker certs renew warehouse-7 --csr warehouse-7.csr
    """
    settings = load()
    bundle = certificates.renew(settings, name, days, out, csr_pem=_read(csr))
    _audit(settings, "certificate.renew", bundle.issued)
    _tell(bundle)
    if bundle.issued.kind == "component" and out is None and homes.are_around(settings):
        typer.echo(f"note: `messagebroker setup` brings it into the home of {name}", err=True)


@app.command()
def revoke(
    name: Name,
    reason: Annotated[str, typer.Option(help="For the record.")] = "",
    serial: Annotated[str | None, typer.Option(help="Only this certificate; `certs show NAME` lists them.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Revoke a holder's certificates, for good. When this returns, the servers are told; they refuse it within a second.

    Example: messagebroker certs revoke warehouse-7 --reason "stolen"
    """
    settings = load()
    affected = [one for one in certificates.show(settings, name) if one.status == "valid" and serial in (None, one.serial)]
    if not yes:
        for one in affected:
            typer.echo(f"{one.kind} {one.name}, serial {one.serial}, valid until {one.not_after:%Y-%m-%d}")
        typer.confirm("Revoke for good?", abort=True)
    try:
        number = certificates.revoke(settings, name, reason, serial)
    finally:  # also when it is revoked and the servers could not be told yet
        for one in affected:
            _audit(settings, "certificate.revoke", one, reason=reason)
    typer.echo(f"{name} is revoked; policy {number} is published")


@app.command("list")
def list_all(
    as_json: AsJson = False,
    every: Annotated[bool, typer.Option("--all", help="Expired and revoked ones too.")] = False,
) -> None:
    """List certificates that are in force, soonest end first.

    Example: messagebroker certs list --all
    """
    found = [one for one in certificates.list_all(load()) if every or one.status == "valid"]
    found.sort(key=lambda one: one.not_after)
    _print_json(found) if as_json else _print_table(found)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show everything about a holder's certificates.

    Example: messagebroker certs show warehouse-7
    """
    found = certificates.show(load(), name)
    if as_json:
        _print_json(found)
        return
    for one in found:
        for label, value in _document(one).items():
            if value not in (None, []):
                typer.echo(f"{label:15} {', '.join(value) if isinstance(value, list) else value}")
        typer.echo()


@app.command()
def crl(
    out: Annotated[Path | None, typer.Option(help="A file to write; without it, standard output.", dir_okay=False)] = None,
) -> None:
    """Write the certificate revocation list (PEM), for other systems; ours follow the policy instead.

    Example: messagebroker certs crl --out revoked.pem
    """
    pem = certificates.crl(load())
    if out is None:
        typer.echo(pem.decode(), nl=False)
    elif not out.absolute().parent.is_dir():
        raise NotFound(f"there is no folder {out.absolute().parent}")
    else:
        write_public(out, pem, overwrite=True)


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}") from error


def _audit(settings: Settings, action: str, issued: Issued, **details: str) -> None:
    """A row where the database answers; the CA's folder knows everything but who it was."""
    with suppress(Unavailable), registry.session(settings):
        details = {"holder": f"{issued.kind}:{issued.name}", **details}
        audit.record(this_user().name, action, "certificate", issued.serial, details=details)


def _tell(bundle: Bundle) -> None:
    issued = bundle.issued
    typer.echo(f"{issued.kind} {issued.name}, serial {issued.serial}, valid until {issued.not_after:%Y-%m-%d}")
    for path in (bundle.certificate, bundle.key, bundle.ca):
        if path is not None:
            typer.echo(f"  {path}")
    for note in bundle.notes:
        typer.echo(f"note: {note}", err=True)


def _document(one: Issued) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.name,
        "status": one.status,
        "serial": one.serial,
        "not_before": one.not_before.isoformat(),
        "not_after": one.not_after.isoformat(),
        "days_left": one.days_left,
        "domains": list(one.domains),
        "fingerprint": one.fingerprint,
        "revoked_at": one.revoked_at.isoformat() if one.revoked_at else None,
        "revoked_reason": one.revoked_reason,
    }


def _print_json(found: Sequence[Issued]) -> None:
    typer.echo(json.dumps([_document(one) for one in found], indent=2))


def _print_table(found: Sequence[Issued]) -> None:
    table = Table("holder", "status", "until", "days left", box=None)
    table.add_column("serial", overflow="fold")
    for one in found:
        status = f"[{_COLOURS[one.status]}]{one.status}[/]"
        table.add_row(f"{one.kind}:{one.name}", status, f"{one.not_after:%Y-%m-%d}", str(one.days_left), one.serial)
    Console().print(table if found else "no certificates; `messagebroker certs issue NAME` makes one")
