from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from messagebroker.cli.actor import this_user
from messagebroker.cli.users import app
from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import audit, ids, keyring, sessions, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.second_factor import SecondFactor
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import load

GOOD = "a long enough one 1"


@pytest.fixture(autouse=True)
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ENVIRONMENT", "test")
    open_database(load())
    schema.upgrade()


def run(*words: str, typed: str | None = None) -> Result:
    result = CliRunner().invoke(app, list(words), input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def one_time(result: Result) -> str:
    return result.stdout.rstrip().rpartition(" ")[2]


def test_create_shows_a_one_time_password_once() -> None:
    result = run("create", "--email", "ada@example.org", "--role", "operator")
    assert result.exit_code == 0
    ada = users.authenticate("ada@example.org", one_time(result))
    assert ada
    assert (ada.role, ada.must_change_password) == ("operator", True)
    assert audit.page(limit=1)[0].actor == this_user().name


def test_the_documented_old_command_works_with_a_warning() -> None:
    result = run("create", "--email", "admin@yourdomain.com", "--password", "AdminPass123!", "--role", "admin")
    assert "other users of this machine" in result.stderr
    assert "AdminPass123!" not in result.output
    assert users.authenticate("admin@yourdomain.com", "AdminPass123!")


@pytest.mark.parametrize(("option", "typed"), [("--password-stdin", f"{GOOD}\n"), ("--ask", f"{GOOD}\n{GOOD}\n")])
def test_passwords_that_nobody_sees(option: str, typed: str) -> None:
    result = run("create", "--email", "ada@example.org", option, typed=typed)
    assert GOOD not in result.output
    assert users.authenticate("ada@example.org", GOOD)


def test_two_ways_at_once_are_refused() -> None:
    with pytest.raises(Refused, match="one of"):
        run("create", "--email", "ada@example.org", "--ask", "--password-stdin")
    assert users.list_all() == []


def test_list() -> None:
    run("create", "--email", "ada@example.org")
    run("create", "--email", "root@example.org", "--role", "admin", "--password-stdin", typed=GOOD)
    run("disable", "ada@example.org")
    lines = run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ada@example.org", "root@example.org"]
    assert "disabled" in lines[0]
    assert "active" in lines[1]
    documents = json.loads(run("list", "--json").stdout)
    assert [(d["email"], d["role"], d["disabled_at"] is None) for d in documents] == [
        ("ada@example.org", "user", False), ("root@example.org", "admin", True),
    ]  # fmt: skip
    assert "password_hash" not in documents[0]


def test_change_and_shut_out() -> None:
    run("create", "--email", "root@example.org", "--role", "admin")
    run("create", "--email", "ada@example.org", "--password-stdin", typed=GOOD)
    run("set-role", "ada@example.org", "operator")
    assert users.find("ada@example.org").role == "operator"
    run("disable", "ada@example.org")
    assert users.authenticate("ada@example.org", GOOD) is None
    run("enable", "ada@example.org")
    new = one_time(run("reset-password", "ada@example.org"))
    assert users.authenticate("ada@example.org", new)
    with pytest.raises(Refused, match="last admin"):
        run("disable", "root@example.org")
    with pytest.raises(NotFound, match="users list"):
        run("reset-password", "nobody@example.org")


def test_sessions_are_shown_and_ended() -> None:
    run("create", "--email", "ada@example.org", "--password-stdin", typed=GOOD)
    tokens = Tokens(b"s" * 32, 15)
    pairs = [sessions.begin(tokens, users.find("ada@example.org"), address="192.0.2.7", user_agent="Lynx") for _ in range(2)]
    assert run("sessions", "ada@example.org").stdout.count("192.0.2.7") == 2
    shown = json.loads(run("sessions", "ada@example.org", "--json").stdout)
    assert [session["id"] for session in shown] == [ids.text(pair.session) for pair in pairs]
    assert "2 sessions" in run("sessions", "ada@example.org", "--end-all").stdout
    assert tokens.holder(pairs[0].access) is None
    assert json.loads(run("sessions", "ada@example.org", "--json").stdout) == []
    assert audit.page(limit=1)[0].action == "session.end-all"


def test_a_second_factor_is_removed() -> None:
    run("create", "--email", "ada@example.org")
    assert "had no" in run("remove-second-factor", "ada@example.org").stdout
    keyring.first_secrets(load())
    SecondFactor(load()).start(users.find("ada@example.org"), Actor(name="cli:test"))
    assert "is removed" in run("remove-second-factor", "ada@example.org").stdout


@pytest.mark.parametrize(
    "command", ["create", "list", "set-role", "disable", "enable", "reset-password", "sessions", "remove-second-factor"]
)
def test_help_has_an_example(command: str) -> None:
    assert f"messagebroker users {command}" in run(command, "--help").stdout
