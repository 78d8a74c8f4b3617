"""`messagebroker certs …` as an operator types it, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from support.requests import signing_request, with_broken_signature
from typer.testing import CliRunner

from messagebroker.cli.actor import this_user
from messagebroker.cli.certs import app
from messagebroker.db import connection, schema
from messagebroker.db.connection import open_database
from messagebroker.errors import BrokerError, NotFound, Refused, Unavailable
from messagebroker.ops import audit, homes, pki, recovery
from messagebroker.settings import load


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory, and a Redis that does not answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(connection.database, "obj", None)
    return tmp_path / "data"


def run(*words: str, answer: str | None = None) -> str:
    """The output of a command that succeeds; a BrokerError is raised through."""
    result = CliRunner().invoke(app, list(words), input=answer)
    if isinstance(result.exception, BrokerError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.tier("processes")
def test_from_nothing_to_a_bundle_in_processes(environment: Path) -> None:
    def messagebroker(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "messagebroker", "certs", *words]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, env=dict(os.environ))

    made = messagebroker("init-ca")
    assert made.returncode == 0, made.stderr
    issued = messagebroker("issue", "acme")
    assert issued.returncode == 0, issued.stderr
    assert (environment / "certs" / "acme.key").exists()
    again = messagebroker("issue", "acme")
    assert again.returncode == 1
    assert again.stderr.startswith("error: ")
    assert "certs renew acme" in again.stderr
    assert "Traceback" not in again.stderr


def test_init_ca_makes_the_secrets_and_shows_the_recovery_key_once(environment: Path) -> None:
    said = run("init-ca")
    shown = said.split("recovery key")[1].split()[0]
    settings = load()
    sealed = recovery.seal(recovery.public_key(settings), "x", b"secret")
    assert recovery.unseal(recovery.private_key(shown), "x", sealed) == b"secret"
    assert (environment / "secrets" / "encryption.key").exists()
    with pytest.raises(Refused, match="there is a CA"):
        run("init-ca")


def test_issue_says_where_the_files_are_and_what_has_yet_to_happen(environment: Path) -> None:
    run("init-ca")
    result = CliRunner().invoke(app, ["issue", "acme", "--days", "10"])
    for name in ("acme.crt", "acme.key", "ca.crt"):
        assert str(environment / "certs" / name) in result.stdout
    assert "note: not in the database yet" in result.stderr
    assert "PRIVATE KEY" not in result.output


def test_domains_kind_and_folder(environment: Path, tmp_path: Path) -> None:
    run("init-ca")
    run(
        "issue",
        "proxy",
        "--kind",
        "component",
        "--domain",
        "a.example",
        "--domain",
        "b.example",
        "--out",
        str(tmp_path / "usb"),
    )
    certificate = x509.load_pem_x509_certificate((tmp_path / "usb" / "proxy.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"a.example", "b.example", "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:messagebroker:component:proxy"]


def test_list_and_show_as_text_and_as_json(environment: Path) -> None:
    run("init-ca")
    assert "client:" not in run("list")
    run("issue", "acme", "--domain", "acme.example")
    assert "client:acme" in run("list")
    (found,) = json.loads(run("show", "acme", "--json"))
    assert (found["name"], found["kind"], found["status"], found["domains"]) == ("acme", "client", "valid", ["acme.example"])
    assert {one["name"] for one in json.loads(run("list", "--json"))} == {"acme", "policy"}
    assert found["serial"] in run("show", "acme")
    with pytest.raises(NotFound, match="nobody"):
        run("show", "nobody")


def test_renew_replaces_the_bundle(environment: Path) -> None:
    run("init-ca")
    run("issue", "acme")
    before = (environment / "certs" / "acme.crt").read_bytes()
    assert "client acme" in run("renew", "acme")
    assert (environment / "certs" / "acme.crt").read_bytes() != before
    assert len(json.loads(run("show", "acme", "--json"))) == 2


def test_revoke_asks_and_tells_the_published_number(environment: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    run("init-ca")
    database = open_database(load())
    schema.upgrade()
    run("issue", "acme")
    serial = json.loads(run("show", "acme", "--json"))[0]["serial"]
    refused = CliRunner().invoke(app, ["revoke", "acme"], input="n\n")
    assert refused.exit_code == 1
    assert serial in refused.stdout
    assert json.loads(run("show", "acme", "--json"))[0]["status"] == "valid"
    assert "policy" in run("revoke", "acme", "--reason", "stolen", answer="y\n")
    (found,) = json.loads(run("show", "acme", "--json"))
    assert (found["status"], found["revoked_reason"]) == ("revoked", "stolen")
    assert "client:acme" not in run("list")
    assert "client:acme" in run("list", "--all")
    assert "acme is revoked" in run("revoke", "acme", "--yes")
    assert database.is_closed()


def test_after_a_renewal_operators_are_told_how_the_role_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(homes.main_home(tmp_path)))
    run("init-ca")
    run("issue", "proxy", "--kind", "component")
    assert "messagebroker setup" not in run_with_notes("renew", "proxy"), "there are no homes yet"
    for home in homes.homes(tmp_path):
        home.path.mkdir(exist_ok=True)
    assert "note: `messagebroker setup` brings it into the home of proxy" in run_with_notes("renew", "proxy")
    assert "messagebroker setup" not in run_with_notes("renew", "proxy", "--out", str(tmp_path / "usb"))


def run_with_notes(*words: str) -> str:
    return CliRunner().invoke(app, list(words)).stderr


def test_the_audit_log_says_who_issued_renewed_and_revoked(environment: Path) -> None:
    run("init-ca")
    run("issue", "before")  # without a database nothing is written, and nothing is lost: the CA's folder has it
    open_database(load())
    schema.upgrade()
    run("issue", "acme")
    run("renew", "acme")
    with pytest.raises(Unavailable, match="is revoked"):  # Redis does not answer
        run("revoke", "acme", "--reason", "stolen", "--yes")
    with connection.connected():
        entries = audit.page(limit=10, newest_first=False)
    serials = {one["serial"] for one in json.loads(run("show", "acme", "--json"))}
    done = [entry.action.removeprefix("certificate.") for entry in entries]
    assert done == ["issue", "renew", "revoke", "revoke"]
    assert {entry.object_id for entry in entries[:2]} == {entry.object_id for entry in entries[2:]} == serials
    assert {entry.actor for entry in entries} == {this_user().name}
    assert entries[-1].details == {"holder": "client:acme", "reason": "stolen"}


def test_a_certificate_for_a_request_leaves_the_key_where_it_was_made(environment: Path, tmp_path: Path) -> None:
    run("init-ca")
    first, second = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    for command, key in (("issue", first), ("renew", second)):
        (tmp_path / "acme.csr").write_bytes(signing_request(key, name="main"))
        said = run(command, "acme", "--csr", str(tmp_path / "acme.csr"), "--out", str(tmp_path / "out"))
        assert "acme.crt" in said
        assert "acme.key" not in said
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["acme.crt", "ca.crt"]
        assert pki.has_key((tmp_path / "out" / "acme.crt").read_bytes(), key.public_key())
    (tmp_path / "acme.csr").write_bytes(with_broken_signature(signing_request()))
    with pytest.raises(Refused, match="not by its key"):
        run("renew", "acme", "--csr", str(tmp_path / "acme.csr"), "--out", str(tmp_path / "out"))
    with pytest.raises(NotFound, match=r"absent\.csr cannot be read"):
        run("issue", "other", "--csr", str(tmp_path / "absent.csr"))


def test_crl_to_standard_output_and_to_a_file(environment: Path, tmp_path: Path) -> None:
    run("init-ca")
    issuer = x509.load_pem_x509_certificate((environment / "certs" / "ca.crt").read_bytes()).subject
    assert x509.load_pem_x509_crl(run("crl").encode()).issuer == issuer
    for _ in range(2):  # a list is replaced by a newer one
        run("crl", "--out", str(tmp_path / "revoked.pem"))
    assert x509.load_pem_x509_crl((tmp_path / "revoked.pem").read_bytes()).issuer == issuer
    with pytest.raises(NotFound, match="no folder"):
        run("crl", "--out", str(tmp_path / "missing" / "revoked.pem"))


@pytest.mark.parametrize("command", ["init-ca", "issue", "renew", "revoke", "list", "show", "crl"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example: messagebroker certs {command}" in run(command, "--help")
