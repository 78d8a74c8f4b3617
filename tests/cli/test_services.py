from __future__ import annotations

import json

import pytest
from support.fake_manager import FakeManager
from typer.testing import CliRunner

from messagebroker.cli.services import app
from messagebroker.errors import Refused
from messagebroker.ops.services import choosing
from messagebroker.roles import NAMES


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> FakeManager:
    found = FakeManager(*NAMES)
    monkeypatch.setattr(choosing, "manager_of", lambda home, root: found)
    return found


def test_status_is_0_only_when_all_run_and_are_ready(manager: FakeManager) -> None:
    answer = CliRunner().invoke(app, ["status", "--json"])
    assert answer.exit_code == 0
    said = json.loads(answer.stdout)
    assert said["home"] == manager.home
    assert [state["role"] for state in said["services"]] == list(NAMES)
    assert said["services"][0] == {
        "role": "main",
        "unit": "unit-main",
        "state": "running",
        "start_type": "automatic",
        "since": None,
        "restarts": None,
        "detail": "ready",
    }
    manager.unready["proxy"] = "redis: gone"
    assert CliRunner().invoke(app, ["status"]).exit_code == 1
    assert CliRunner().invoke(app, ["status", "main"]).exit_code == 0
    manager.running.discard("main")
    assert CliRunner().invoke(app, ["status", "main"]).exit_code == 1


def test_the_table_shows_state_start_type_and_what_is_missing(manager: FakeManager) -> None:
    manager.unready["proxy"] = "redis: gone"
    lines = CliRunner().invoke(app, ["status"]).stdout.splitlines()
    assert lines[0].split()[:4] == ["role", "unit", "state", "start"]
    proxy = next(line for line in lines if line.startswith("proxy"))
    assert proxy.split()[:4] == ["proxy", "unit-proxy", "running", "automatic"]
    assert "not ready: redis: gone" in proxy


def test_what_happens_is_told(manager: FakeManager) -> None:
    answer = CliRunner().invoke(app, ["stop", "main", "--with-dependencies"])
    assert answer.stdout.splitlines() == ["portal stopped", "proxy stopped", "main stopped"]
    refused = CliRunner().invoke(app, ["start", "portal"])
    assert isinstance(refused.exception, Refused)


def test_an_unknown_role_is_wrong_usage(manager: FakeManager) -> None:
    assert CliRunner().invoke(app, ["start", "mysql"]).exit_code == 2
    assert manager.calls == []


def test_removing_asks_and_names_what_goes(manager: FakeManager) -> None:
    answer = CliRunner().invoke(app, ["uninstall"], input="n\n")
    assert "unit-main (running)" in answer.stdout
    assert isinstance(answer.exception, Refused)
    assert "removed" in CliRunner().invoke(app, ["uninstall", "--yes"]).stdout


def test_installing_passes_the_account_on(manager: FakeManager) -> None:
    assert "installed for ACME\\broker" in CliRunner().invoke(app, ["install", "--account", "ACME\\broker"]).stdout
