"""The program as scripts meet it: exit codes, streams, speed of --help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from messagebroker.__main__ import exit_code
from messagebroker.cli import COMMANDS
from messagebroker.errors import BrokerError, ConfigurationError, Conflict, NotFound, Refused, Unavailable

pytestmark = pytest.mark.tier("processes")  # each starts the program, which takes a second


def program(*words: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "messagebroker", *words],
        cwd=folder,
        env={**os.environ, "DATA_DIR": str(folder / "data"), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )


def test_help_lists_every_command_and_imports_none(tmp_path: Path) -> None:
    shown = program("--help", folder=tmp_path)
    assert shown.returncode == 0
    for name, (_, summary) in COMMANDS.items():
        assert name in shown.stdout
        assert summary.split(",")[0].split(";")[0].split(".")[0] in shown.stdout
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys; from messagebroker.cli import build; build(['--help']); print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert not {"peewee", "redis", "cryptography", "dramatiq", "nicegui", "falcon"} & set(loaded)


def test_wrong_settings_are_one_message_without_a_traceback(tmp_path: Path) -> None:
    ended = program("run", "proxy", folder=tmp_path, PROXY_PORT="x", WORKER_COUNT="0")
    assert ended.returncode == 3
    assert ended.stdout == ""
    assert "PROXY_PORT: " in ended.stderr
    assert "WORKER_COUNT: " in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("role", ["proxy", "portal"])
@pytest.mark.parametrize("source", ["environment", "a file that a variable names", ".env in DATA_DIR"])
def test_in_production_a_role_that_can_read_the_databases_password_ends(tmp_path: Path, role: str, source: str) -> None:
    url = "mysql+pymysql://systemuser:k3Jd82hs@127.0.0.1:9/message_system"
    (tmp_path / "data").mkdir()
    (tmp_path / "url").write_text(url, encoding="utf-8")
    variables = {
        "environment": {"DATABASE_URL": url},
        "a file that a variable names": {"DATABASE_URL_FILE": str(tmp_path / "url")},
    }.get(source, {})
    if not variables:
        (tmp_path / "data" / ".env").write_text(f"DATABASE_URL={url}\n", encoding="utf-8")
    ended = program("run", role, folder=tmp_path, ENVIRONMENT="production", **variables)
    assert ended.returncode == 3
    assert f"DATABASE_URL is set for the {role}" in ended.stderr
    assert "k3Jd82hs" not in ended.stderr


def test_an_error_of_run_is_on_the_console_once_and_in_the_file(tmp_path: Path) -> None:
    for log_folder in (str(tmp_path / "logs"), ""):
        ended = program("run", "worker", folder=tmp_path, METRICS_PORT="0", LOG_FILE_PATH=log_folder)
        assert ended.returncode == 3
        assert ended.stderr.count("there is no database") == 1
        assert "Traceback" not in ended.stderr
    assert "there is no database" in (tmp_path / "logs" / "worker.log").read_text(encoding="utf-8")
    production = {"ENVIRONMENT": "production", "DATABASE_URL": "mysql://me:pw@127.0.0.1:9/message_system"}
    ended = program("run", "proxy", "--supervised", folder=tmp_path, **production)
    assert ended.stderr.startswith("error: DATABASE_URL is set for the proxy"), "the log is in the file alone then"


def test_an_error_that_nobody_expected_has_one_traceback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import messagebroker.cli.run as run\nrun.entry = lambda role: lambda settings, stop: 1 / 0\n", encoding="utf-8"
    )
    ended = program("run", "proxy", folder=tmp_path, PROXY_PORT="0", PYTHONPATH=str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.count("ZeroDivisionError: ") == 1


def test_an_unknown_role_is_wrong_usage(tmp_path: Path) -> None:
    ended = program("run", "mainframe", folder=tmp_path)
    assert ended.returncode == 2
    assert "mainframe is no role" in ended.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigurationError, 3), (Unavailable, 4), (Refused, 1), (NotFound, 1), (Conflict, 1), (BrokerError, 1)],
)
def test_scripts_can_tell_errors_apart(error: type[BrokerError], code: int) -> None:
    assert exit_code(error("x")) == code


def test_db_upgrade_then_status(tmp_path: Path) -> None:
    before = program("db", "status", "--json", folder=tmp_path)
    assert before.returncode == 1
    assert json.loads(before.stdout)["missing"]
    upgraded = program("db", "upgrade", folder=tmp_path)
    assert upgraded.returncode == 0, upgraded.stderr
    assert "applied 001_initial" in upgraded.stdout
    again = program("db", "upgrade", folder=tmp_path)
    assert "the database is current" in again.stdout
    after = program("db", "status", "--json", folder=tmp_path)
    assert after.returncode == 0
    assert json.loads(after.stdout)["missing"] == []


def test_db_status_names_a_database_that_is_not_there_and_makes_none(tmp_path: Path) -> None:
    missing = tmp_path / "typo" / "x.db"
    ended = program("db", "status", folder=tmp_path, DATABASE_URL=f"sqlite:///{missing}")
    assert ended.returncode == 1
    assert f"the folder {missing.parent} does not exist" in ended.stderr
    assert "DATABASE_URL" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_db_upgrade_registers_what_was_issued_before_there_was_a_database(tmp_path: Path) -> None:
    assert program("certs", "init-ca", folder=tmp_path).returncode == 0
    assert program("certs", "issue", "warehouse-7", folder=tmp_path).returncode == 0
    assert program("db", "upgrade", folder=tmp_path).returncode == 0
    listed = program("certs", "list", "--json", folder=tmp_path)
    assert "warehouse-7" in listed.stdout
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "data" / "message_system.db")) as database:
        assert database.execute("SELECT name FROM clients").fetchall() == [("warehouse-7",)]


def test_the_output_of_a_command_is_json_alone(tmp_path: Path) -> None:
    program("db", "upgrade", folder=tmp_path)
    program("certs", "init-ca", folder=tmp_path)
    listed = program("certs", "list", "--json", folder=tmp_path)
    json.loads(listed.stdout)


def test_smoke_against_nothing_says_what_cannot_be_reached(tmp_path: Path) -> None:
    program("certs", "init-ca", folder=tmp_path)
    program("certs", "issue", "demo", folder=tmp_path)
    ended = program("smoke", "--url", "https://localhost:9", "--json", folder=tmp_path)
    assert ended.returncode == 1
    document = json.loads(ended.stdout)
    assert document["ok"] is False
    assert "https://localhost:9" in document["steps"][-1]["said"]


@pytest.mark.parametrize("module", ["messagebroker.http.main.serve", "messagebroker.actors.worker"])
def test_a_role_loads_large_libraries_when_it_needs_them(module: str) -> None:
    """Somebody's webhooks, schemas or templates cost those who have them; drawing tables is for commands."""
    program = f"import sys; from messagebroker import __main__ as it; it._keep_small(); import {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) & {"aiohttp", "jsonschema_rs", "jinja2", "rich", "peewee_migrate", "zxcvbn"} == set()
