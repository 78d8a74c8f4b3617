"""Everything that operators typed until now still does what it did, or says what does it now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from messagebroker.cli import build
from messagebroker.cli.old import _command
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import old_files
from messagebroker.ops.old_names import LINUX, WINDOWS, find, of_system
from messagebroker.ops.services.compose import Compose

PYTHON = Path(sys.executable)


@pytest.mark.parametrize(
    ("typed", "now"),
    [
        (r"main_server\init_ca.bat", ["certs init-ca"]),
        (
            r"main_server\generate_cert.bat client_name domain.com 365",
            ["certs issue client_name --domain domain.com --days 365"],
        ),
        (
            r"main_server\generate_cert.bat server localhost 3650",
            ["certs issue main --kind component --domain localhost --days 3650"],
        ),
        (r"main_server\generate_cert.bat warehouse-7", ["certs issue warehouse-7"]),
        (r"main_server\revoke_cert.bat client_name", ["certs revoke client_name"]),
        (r"main_server\renew_cert.bat server", ["certs renew main"]),
        (
            r"main_server\admin_cli.py users create --email admin@example.org --password AdminPass123! --role admin",
            ["users create --email admin@example.org --password AdminPass123! --role admin"],
        ),
        (r"deployment\services\install_all_services.ps1", ["services install"]),
        (r"deployment\services\install_main_server_service.ps1", ["services install"]),
        (r"deployment\services\install_proxy_service.ps1", ["services install"]),
        (r"deployment\services\install_worker_service.ps1", ["services install"]),
        (r"deployment\services\install_portal_service.ps1", ["services install"]),
        (r"deployment\backup\backup.ps1", ["backup create"]),
        (r"deployment\backup\restore.ps1 -BackupPath C:\b\backup_1.zip", [r"backup restore C:\b\backup_1.zip"]),
        (r"deployment\backup\install_backup_task.ps1", ["backup list"]),
        (r"deployment\tests\smoke_test.ps1", ["services status", "smoke"]),
        (r"scripts\monitor.ps1", ["services status", "queue stats"]),
        ("./scripts/health-check.sh", ["health", "smoke"]),
        ("./scripts/backup.sh", ["backup create"]),
        ("./scripts/restore.sh backups/backup_1.zip", ["backup restore backups/backup_1.zip"]),
        ("./scripts/rollback.sh restart-all", ["services restart"]),
        ("./scripts/rollback.sh previous-image", ["services rollback"]),
        ("./scripts/logging-metrics.sh status", ["services status", "queue stats"]),
        ("./scripts/logging-metrics.sh collect", ["queue stats --json"]),
        ("./scripts/rollback.sh emergency-stop", ["services stop --force"]),
    ],
)
def test_what_was_typed_is_a_command_of_today(typed: str, now: list[str]) -> None:
    path, *words = typed.split()
    commands = find(path).translate(words)
    assert [" ".join(command) for command in commands] == now
    for command in commands:
        accepted(command)


def accepted(words: list[str]) -> None:
    """Such a command exists, and takes these words."""
    command = get_command(build(words))
    context = typer.Context(command)
    rest = list(words)
    while hasattr(command, "get_command"):
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, words
        command, context = found, typer.Context(found, info_name=name, parent=context)
    command.make_context(words[0], rest, resilient_parsing=False)


@pytest.mark.parametrize("path", [r"main_server\generate_cert.bat", r"main_server\revoke_cert.bat", "scripts/rollback.sh"])
def test_missing_words_are_named(path: str) -> None:
    with pytest.raises(Refused, match=r"^say "):
        find(path).translate([])


def test_the_backup_task_makes_no_second_run_at_two() -> None:
    task = find(r"deployment\backup\install_backup_task.ps1")
    assert "by itself" in task.note
    assert not any("create" in command for command in task.translate([]))


def test_an_unknown_path_is_refused() -> None:
    with pytest.raises(NotFound, match="no old command"):
        find(r"deployment\nothing.ps1")


def test_windows_gets_its_files_and_linux_its_own(tmp_path: Path) -> None:
    old_files.write(tmp_path / "windows", PYTHON, WINDOWS)
    old_files.write(tmp_path / "linux", PYTHON, LINUX)
    for system in (WINDOWS, LINUX):
        made = {path.relative_to(tmp_path / system).as_posix() for path in (tmp_path / system).rglob("*") if path.is_file()}
        assert made - {"messagebroker.cmd"} == {old.path for old in of_system(system)}
    batch = (tmp_path / "windows" / "main_server" / "renew_cert.bat").read_bytes()
    assert batch.count(b"\r\n") == batch.count(b"\n"), "cmd.exe reads such lines only"
    assert str(PYTHON).encode() in batch


def test_files_are_written_once_and_healed(tmp_path: Path) -> None:
    assert len(old_files.write(tmp_path, PYTHON, WINDOWS)) == len(list(of_system(WINDOWS))) + 1
    assert old_files.write(tmp_path, PYTHON, WINDOWS) == []
    (tmp_path / "deployment" / "backup" / "backup.ps1").unlink()
    assert len(old_files.write(tmp_path, PYTHON, WINDOWS)) == 1
    assert len(old_files.write(tmp_path, Path("/other/python"), WINDOWS)) == len(list(of_system(WINDOWS))) + 1


def test_an_operators_own_script_is_kept_beside_ours(tmp_path: Path) -> None:
    """The runbook has people save a monitor.ps1 of their own there."""
    own = tmp_path / "scripts" / "monitor.ps1"
    own.parent.mkdir()
    own.write_text("while ($true) { Get-Service MessageBroker* }", encoding="utf-8")
    assert any("kept as monitor.ps1.before" in change for change in old_files.write(tmp_path, PYTHON, WINDOWS))
    assert "Get-Service" in own.with_name("monitor.ps1.before").read_text(encoding="utf-8")
    removed = old_files.remove(tmp_path)
    assert len(removed) == len(list(of_system(WINDOWS))) + 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["monitor.ps1.before"]


@pytest.mark.tier("processes")
def test_a_script_runs_the_new_command_in_root_and_passes_on_its_exit_code(tmp_path: Path) -> None:
    """Linux' files can run here; `rollback.sh` without a word is refused by the table."""
    old_files.write(tmp_path, PYTHON, LINUX)
    done = subprocess.run([tmp_path / "scripts" / "rollback.sh"], capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 1
    assert "say one of restart-all" in done.stderr
    done = subprocess.run(
        [tmp_path / "scripts" / "restore.sh", "no such.zip"], capture_output=True, encoding="utf-8", timeout=60, cwd="/"
    )
    assert "# now: messagebroker backup restore no such.zip" in done.stderr
    assert done.returncode != 0


@pytest.mark.tier("processes")
def test_a_password_on_the_old_command_line_is_not_repeated(tmp_path: Path) -> None:
    old_files.write(tmp_path, PYTHON, WINDOWS)
    words = ["users", "create", "--email", "a@example.org", "--password", "Xq7-hunter2", "--role", "admin"]
    script = tmp_path / "main_server" / "admin_cli.py"
    done = subprocess.run([sys.executable, script, *words], capture_output=True, encoding="utf-8", timeout=60)
    assert "# now: messagebroker users create --email a@example.org --password *** --role admin" in done.stderr
    assert "Xq7-hunter2" not in done.stderr + done.stdout


def test_beside_a_compose_file_the_containers_are_meant(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {}\n", encoding="utf-8")
    compose = ["docker", "compose"]
    assert _command(["backup", "create"], tmp_path) == [*compose, "exec", "-T", "main", "messagebroker", "backup", "create"]
    assert _command(["backup", "restore", "b.zip"], tmp_path)[2:] == [
        "run",
        "--rm",
        "--no-deps",
        "main",
        "backup",
        "restore",
        "b.zip",
    ]
    assert _command(["health"], tmp_path)[-2:] == ["services", "status"]
    assert _command(["services", "restart"], tmp_path)[0] == sys.executable
    assert _command(["backup", "create"], tmp_path / "elsewhere")[0] == sys.executable
    made = Compose(tmp_path).install()
    assert any("health-check.sh" in line for line in made)
    assert (tmp_path / "scripts" / "rollback.sh").exists()
    assert Compose(tmp_path).install() == []


def test_the_latest_backup_is_not_brought_back_without_being_named() -> None:
    with pytest.raises(Refused, match="backup restore NAME"):
        find("scripts/rollback.sh").translate(["last-backup"])
