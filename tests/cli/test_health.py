from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from messagebroker.cli import build, health
from messagebroker.ops.health import Health
from messagebroker.settings import Settings

pytestmark = pytest.mark.clocked


def asked(*words: str) -> Result:
    return CliRunner().invoke(build(["health", *words]), ["health", *words])


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Health]]:
    """What each role answers, one after another; the last goes on."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    given = {name: [Health(True, "fine")] for name in ("main", "proxy", "worker", "scheduler", "portal")}

    def check(settings: Settings, name: str) -> Health:
        return given[name].pop(0) if len(given[name]) > 1 else given[name][0]

    monkeypatch.setattr(health.checks, "check", check)
    monkeypatch.setattr(health, "ROUND_SECONDS", 0.01)
    return given


def test_all_are_ready(answers: dict[str, list[Health]]) -> None:
    shown = asked()
    assert shown.exit_code == 0
    assert [line.split()[:2] for line in shown.output.splitlines()] == [["ready", name] for name in answers]


def test_one_is_not(answers: dict[str, list[Health]]) -> None:
    answers["proxy"] = [Health(False, "503 redis: Redis does not answer")]
    shown = asked()
    assert shown.exit_code == 1
    assert "NOT READY  proxy      503 redis: Redis does not answer" in shown.output
    assert asked("main").exit_code == 0
    assert asked("proxy").exit_code == 1


def test_as_json(answers: dict[str, list[Health]]) -> None:
    answers["proxy"] = [Health(False, "gone")]
    document = json.loads(asked("proxy", "--json").output)
    assert document == {"ready": False, "roles": [{"role": "proxy", "ready": False, "said": "gone"}]}


def test_waiting_ends_when_all_are_ready(answers: dict[str, list[Health]]) -> None:
    answers["worker"] = [Health(False, "starts"), Health(False, "starts"), Health(True, "fine")]
    began = time.monotonic()
    assert asked("--wait", "20").exit_code == 0
    assert time.monotonic() - began < 5


def test_waiting_ends_when_the_time_is_up(answers: dict[str, list[Health]]) -> None:
    answers["worker"] = [Health(False, "starts")]
    began = time.monotonic()
    assert asked("worker", "--wait", "0.3").exit_code == 1
    assert 0.2 < time.monotonic() - began < 5


def test_an_unknown_role_is_wrong_usage(answers: dict[str, list[Health]]) -> None:
    assert asked("mainframe").exit_code == 2


SHOW = """
import sys
from messagebroker.__main__ import main
try:
    main()
finally:
    print(*sys.modules)
"""
HEAVY = {"structlog", "redis", "rich.console", "msgspec", "dramatiq", "falcon", "httpx"}


@pytest.mark.tier("processes")
@pytest.mark.parametrize(
    ("role", "heavy"), [("proxy", HEAVY | {"peewee", "pymysql", "cryptography"}), ("scheduler", HEAVY - {"redis"})]
)
def test_a_question_loads_little(tmp_path: Path, role: str, heavy: set[str]) -> None:
    """Containers ask every few seconds: each of these libraries costs about as much as the question."""
    command = [sys.executable, "-c", SHOW, "health", role]
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "DATA_DIR": str(tmp_path)}, capture_output=True, text=True, timeout=30
    )
    loaded = set(ended.stdout.split())
    assert "messagebroker.ops.health" in loaded
    assert heavy & loaded == set()
