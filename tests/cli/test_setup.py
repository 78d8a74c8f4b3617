"""`messagebroker setup` as operators and containers call it."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.servers import free_port
from typer.testing import CliRunner

from messagebroker.__main__ import exit_code
from messagebroker.cli import build
from messagebroker.client.tls import Identity
from messagebroker.db import connection
from messagebroker.errors import BrokerError
from messagebroker.settings import Settings

ONCE = re.compile(r"one-time password (\S+)|recovery key  (\S+)")


@dataclass
class Ended:
    """What a shell would see."""

    returncode: int
    stdout: str
    stderr: str


Setup = Callable[..., Ended]


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """The command, in production; the settings' variables of this process do not count."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connection.database, "obj", None)
    for name in list(os.environ):
        if name.lower().removesuffix("_file") in Settings.model_fields:
            monkeypatch.delenv(name)

    def run(root: Path, *words: str, **variables: str) -> Ended:
        with monkeypatch.context() as only_now:
            for name, value in {"ENVIRONMENT": "production", **variables}.items():
                only_now.setenv(name, value)
            line = ["setup", "--root", str(root), *words]
            result = CliRunner().invoke(build(line), line)
        if isinstance(result.exception, BrokerError):
            return Ended(exit_code(result.exception), result.stdout, result.stderr + str(result.exception))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def database(tmp_path: Path) -> dict[str, str]:
    """A database that needs no server; roles on one machine and under one account could share it."""
    return {"DATABASE_URL": f"sqlite:///{tmp_path.as_posix()}/shared.db", "ALLOW_SQLITE_IN_PRODUCTION": "true"}


def files(root: Path) -> dict[str, bytes]:
    """What is in an installation, but locks and SQLite's own."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".lock" not in path.name and path.suffix != ".db"
    }


def test_everything_is_made_once_and_shown_once(setup: Setup, tmp_path: Path, database: dict[str, str]) -> None:
    root = tmp_path / "installation"
    first = setup(root, **database)
    assert first.returncode == 0, first.stderr
    assert len(ONCE.findall(first.stdout)) == 2
    made = files(root)
    assert {"main_server/ca/ca.key", "proxy/certs/proxy.key", "worker/secrets/encryption.key", ".env"} <= made.keys()
    again = setup(root, ALLOW_SQLITE_IN_PRODUCTION="true")  # the rest is in files now
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines() == [f"the installation in {root} is as it has to be"]
    assert files(root) == made


def test_secrets_first_and_the_database_when_it_runs(setup: Setup, tmp_path: Path, database: dict[str, str]) -> None:
    """As in containers: the servers get their passwords before they start."""
    root = tmp_path / "installation"
    (root / "main_server").mkdir(parents=True)
    (root / "main_server" / ".env").write_text(
        f"DATABASE_URL=mysql+pymysql://systemuser:k3Jd82hs@127.0.0.1:{free_port()}/message_system\n", encoding="utf-8"
    )
    early = setup(root, "--only", "secrets", "--container")
    assert early.returncode == 0, early.stderr
    assert "recovery key" in early.stdout
    assert "one-time password" not in early.stdout
    assert "k3Jd82hs" in (root / "worker" / ".env").read_text(encoding="utf-8")
    assert not (root / ".env").exists(), "in containers settings come from the environment"
    late = setup(root, "--container", **database)
    assert late.returncode == 0, late.stderr
    assert "one-time password" in late.stdout
    assert "recovery key" not in late.stdout
    assert not (root / ".env").exists()


def test_a_database_that_does_not_answer_loses_nothing(setup: Setup, tmp_path: Path, database: dict[str, str]) -> None:
    root = tmp_path / "installation"
    early = setup(root, DATABASE_URL=f"mysql+pymysql://systemuser:k3Jd82hs@127.0.0.1:{free_port()}/message_system")
    assert early.returncode == 4, early.stderr
    assert "recovery key" in early.stdout, "it is stored nowhere, so it must be shown although the rest failed"
    assert "is as it has to be" not in early.stdout
    assert "k3Jd82hs" not in early.stdout + early.stderr
    late = setup(root, **database)
    assert late.returncode == 0, late.stderr
    assert "one-time password" in late.stdout


def test_without_a_database_nothing_is_begun(setup: Setup, tmp_path: Path) -> None:
    ended = setup(tmp_path / "installation")
    assert ended.returncode == 3
    assert "DATABASE_URL is missing" in ended.stderr
    assert "recovery key" not in ended.stdout
    assert not (tmp_path / "installation" / "main_server" / "secrets").exists()


def test_a_wrong_name_is_refused_and_nothing_is_lost(setup: Setup, tmp_path: Path, database: dict[str, str]) -> None:
    ended = setup(tmp_path / "installation", "--domain", "not a name", **database)
    assert ended.returncode == 1
    assert "neither a host name nor an IP address" in ended.stderr
    assert "recovery key" in ended.stdout


def test_what_is_shown_once_can_be_left_in_a_folder(setup: Setup, tmp_path: Path, database: dict[str, str]) -> None:
    folder = tmp_path / "handover"
    made = setup(tmp_path / "installation", "--handover", str(folder), **database)
    assert made.returncode == 0, made.stderr
    password = (folder / "admin-password.txt").read_text(encoding="utf-8").split()
    recovery = (folder / "recovery-key.txt").read_text(encoding="utf-8").strip()
    assert password[0] == "admin@localhost"
    for secret in (password[1], recovery):
        assert secret not in made.stdout + made.stderr
    assert Identity(cert=folder / "demo.crt", key=folder / "demo.key", ca=folder / "ca.crt").context
    if os.name == "posix":
        secrets = [folder, *(folder / name for name in ("admin-password.txt", "recovery-key.txt", "demo.key"))]
        assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in secrets} == {0}
    for path in folder.glob("*.txt"):
        path.unlink()
    again = setup(tmp_path / "installation", "--handover", str(folder), **database)
    assert again.returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["ca.crt", "demo.crt", "demo.key"]


def test_a_folder_that_cannot_take_it_is_found_before_anything_is_made(
    setup: Setup, tmp_path: Path, database: dict[str, str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    ended = setup(tmp_path / "installation", "--handover", str(tmp_path / "file" / "folder"), **database)
    assert ended.returncode == 3
    assert "handover folder" in ended.stderr
    assert not (tmp_path / "installation" / "main_server" / "secrets").exists()


def test_a_root_that_cannot_be_written_is_one_sentence(setup: Setup, tmp_path: Path, database: dict[str, str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    ended = setup(tmp_path / "file" / "root", **database)
    assert ended.returncode == 3
    assert "file/root: Not a directory; run this as root" in ended.stderr.replace("\\", "/")


def test_as_json(setup: Setup, tmp_path: Path, database: dict[str, str]) -> None:
    document = json.loads(setup(tmp_path / "installation", "--json", **database).stdout)
    assert document["complete"] is True
    assert document["admin_password"]
    assert document["recovery_key"]
    assert {"path": str(tmp_path / "installation" / "proxy" / ".env"), "what": "written"} in document["changes"]
    again = json.loads(setup(tmp_path / "installation", "--json", **database).stdout)
    assert (again["complete"], again["changes"], again["admin_password"], again["recovery_key"]) == (True, [], None, None)


def test_names_that_were_added_later_come_into_the_certificates(setup: Setup, tmp_path: Path, database: dict[str, str]) -> None:
    setup(tmp_path / "installation", **database)
    more = setup(tmp_path / "installation", "--domain", "main", "--domain", "broker.example.org", **database)
    assert "proxy/certs/proxy.crt: copied from main's home" in more.stdout


def test_only_is_one_word(setup: Setup, tmp_path: Path) -> None:
    assert setup(tmp_path, "--only", "database").returncode == 2
