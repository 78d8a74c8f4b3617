"""`messagebroker setup servers` and `setup handover` as the Compose file calls them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from messagebroker.cli import build
from messagebroker.errors import NotFound
from messagebroker.ops import server_secrets

pytestmark = pytest.mark.skipif(os.name != "posix", reason="for containers: Linux")


def run(*words: str) -> Result:
    return CliRunner().invoke(build(["setup"]), ["setup", *words], catch_exceptions=True)


def test_servers_says_what_it_wrote_and_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_secrets, "SERVER_GROUP", os.getgid())
    for made in (server_secrets.MySQLSecrets, server_secrets.RedisSecrets):
        monkeypatch.setattr(made.__init__, "__defaults__", (os.getgid(),))
    first = run("servers", "--root", str(tmp_path), "--mysql", "db:3307")
    assert first.exit_code == 0, first.output
    environment = (tmp_path / "main_server" / ".env").read_text(encoding="utf-8")
    assert "@db:3307/message_system" in environment
    assert "@redis:6379/0" in environment
    for path in (tmp_path / "servers" / "mysql").iterdir():
        assert str(path) in first.output
        assert path.read_text(encoding="utf-8") not in first.output
    again = run("servers", "--root", str(tmp_path), "--mysql", "db:3307")
    assert "written" not in again.output
    assert (tmp_path / "main_server" / ".env").read_text(encoding="utf-8") == environment


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    ended = run("servers", "--root", str(tmp_path), "--mysql", "db:port")
    assert ended.exit_code == 2
    assert not (tmp_path / "main_server").exists()


def test_handover_shows_and_removes(tmp_path: Path) -> None:
    (tmp_path / "admin-password.txt").write_text("admin@localhost abcd\n", encoding="utf-8")
    (tmp_path / "recovery-key.txt").write_text("key=\n", encoding="utf-8")
    (tmp_path / "demo.crt").write_text("stays", encoding="utf-8")
    kept = run("handover", "--from", str(tmp_path), "--keep")
    shown = run("handover", "--from", str(tmp_path))
    for output in (kept.output, shown.output):
        assert "admin password: admin@localhost abcd" in output
        assert "recovery key: key=" in output
    assert [path.name for path in tmp_path.iterdir()] == ["demo.crt"]
    assert isinstance(run("handover", "--from", str(tmp_path)).exception, NotFound)
