from __future__ import annotations

import os
import socket
from collections import namedtuple
from datetime import timedelta
from pathlib import Path

import pytest
from support.installed import quiet

from messagebroker.errors import Refused
from messagebroker.ops import clock, doctor, doctor_machine, doctor_ports, doctor_settings, health
from messagebroker.ops.findings import Finding, Findings
from messagebroker.settings import load


def worst(found: list[Finding]) -> str:
    levels = [finding.level for finding in found]
    return next((level for level in ("error", "warning") if level in levels), "ok")


def test_a_check_that_fails_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(settings: object) -> list[Finding]:
        raise ZeroDivisionError

    def refuses(settings: object) -> list[Finding]:
        raise Refused("said in a sentence")

    last = Findings("last").ok("fine")
    monkeypatch.setattr(doctor, "CHECKS", {"a": breaks, "b": refuses, "c": lambda settings: iter([last])})
    found = list(doctor.run(quiet(tmp_path)))
    assert [finding.level for finding in found] == ["error", "error", "ok"]
    assert "ZeroDivisionError" in found[0].text
    assert found[1].text == "said in a sentence"


# ports


def test_a_port_that_another_process_holds_is_named_with_the_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        settings = load(
            {}, data_dir=tmp_path, environment="test", proxy_port=port, main_server_port=0, portal_port=0, metrics_port=0
        )
        found = {finding.level: finding for finding in doctor_ports.check(settings)}
    assert f"port {port} of proxy (PROXY_PORT)" in found["error"].text
    assert f"pid {os.getpid()}" in found["error"].text
    assert "set PROXY_PORT" in found["error"].fix
    assert worst(list(doctor_ports.check(settings))) == "ok"


def test_a_port_that_its_own_role_holds_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        settings = load(
            {}, data_dir=tmp_path, environment="test", main_server_port=port, proxy_port=0, portal_port=0, metrics_port=0
        )
        monkeypatch.setattr(health, "check", lambda settings, name: health.Health(True, "200"))
        assert worst(list(doctor_ports.check(settings))) == "ok"
        assert "main itself" in next(iter(doctor_ports.check(settings))).text


# settings


def test_a_misspelt_variable_is_found(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text(f"REDIS_HSOT=somewhere\nRETENTION_DAYS=30\nJWT_SECRET_FILE={env}\n", encoding="utf-8")
    settings = quiet(tmp_path)
    found = [finding for finding in doctor_settings.check(settings) if finding.level != "ok"]
    assert [(finding.level, finding.fix) for finding in found] == [("warning", "did you mean REDIS_HOST?")]
    env.write_text("REDIS_HOST=somewhere\n", encoding="utf-8")
    assert worst(list(doctor_settings.check(quiet(tmp_path)))) == "ok"


def test_secrets_in_a_readable_env_file_are_an_error(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("JWT_SECRET=abc\n", encoding="utf-8")
    env.chmod(0o644)
    assert worst(list(doctor_settings.check(quiet(tmp_path)))) == "error"
    env.chmod(0o600)
    assert worst(list(doctor_settings.check(quiet(tmp_path)))) == "ok"


# disk

Usage = namedtuple("Usage", "total used free")
GIB = doctor_machine.GIB


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [
        (100 * GIB, 60 * GIB, "ok"),
        (2000 * GIB, 90 * GIB, "ok"),
        (40 * GIB, 9 * GIB, "warning"),
        (100 * GIB, 6 * GIB, "error"),
        (2 * GIB, GIB // 2, "error"),
    ],
)
def test_disk_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, free: int, level: str) -> None:
    monkeypatch.setattr(doctor_machine.shutil, "disk_usage", lambda path: Usage(total, total - free, free))
    found = list(doctor_machine.disk(quiet(tmp_path)))
    assert {finding.level for finding in found} == {level}
    assert {finding.text.split()[0] for finding in found} == {"DATA_DIR", "BACKUP_DIR", "LOG_FILE_PATH"}


@pytest.mark.parametrize(("free", "level"), [(64, "ok"), (4, "ok"), (3, "error")])
def test_a_file_system_of_the_logs_own_needs_what_is_kept_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    """As a container has it: 64 MiB in memory, of which the logs may have filled all but a little."""
    mib = 1 << 20
    folder = tmp_path / "logs"
    folder.mkdir()
    with (folder / "main_server.log").open("wb") as file:
        file.truncate(56 * mib if free < 64 else 0)
    real = doctor_machine.shutil.disk_usage
    monkeypatch.setattr(
        doctor_machine.shutil,
        "disk_usage",
        lambda path: Usage(64 * mib, (64 - free) * mib, free * mib) if path == folder else real(path),
    )
    settings = load({}, data_dir=tmp_path, log_file_path=folder)
    found = [finding for finding in doctor_machine.disk(settings) if "LOG_FILE_PATH" in finding.text]
    assert [finding.level for finding in found] == [level]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine.os, "access", lambda path, mode: False)  # root may write everywhere
    found = list(doctor_machine.disk(quiet(tmp_path)))
    assert worst(found) == "error"
    assert "cannot be written" in found[0].text


# clock


@pytest.mark.parametrize(("ahead", "level", "word"), [(0, "ok", ""), (2.5, "warning", "ahead"), (-60, "error", "behind")])
def test_the_clock_against_redis(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, ahead: float, level: str, word: str
) -> None:
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(seconds=ahead))
    found = list(doctor_machine.clocks(quiet(tmp_path, redis_url=redis_url)))
    assert [finding.level for finding in found] == [level]
    assert word in found[0].text


def test_looking_changes_nothing(tmp_path: Path, redis_url: str) -> None:
    list(doctor.run(quiet(tmp_path / "new", redis_url=redis_url)))
    assert not (tmp_path / "new").exists()
