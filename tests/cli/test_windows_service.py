"""The program of the Windows services, without a service manager."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messagebroker.cli import run, windows_service
from messagebroker.errors import ConfigurationError
from messagebroker.ops import logs
from messagebroker.ops.event_log import EventLogHandler
from messagebroker.ops.services.runs import Runs
from messagebroker.settings import Settings


class Events(EventLogHandler):
    def __init__(self) -> None:
        self.told: list[str] = []
        super().__init__(lambda kind, text: self.told.append(text))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What `prepare` leaves: ROOT is the directory, and the role's home is in the environment."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    monkeypatch.setattr(logs, "configure", lambda *words, **options: None)
    before = dict(os.environ), Path.cwd()
    words = ["run", "proxy", "--root", str(tmp_path), "--set", f"DATA_DIR={folder}", "--set", "METRICS_PORT=9111"]
    windows_service.prepare(windows_service.arguments(words))
    yield folder
    os.chdir(before[1])
    os.environ.clear()
    os.environ.update(before[0])


def test_a_role_runs_in_root_with_its_own_home_until_it_is_stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def serve(role: str, settings: Settings, stop: threading.Event) -> None:
        seen.extend((role, settings.data_dir, settings.metrics_port, Path.cwd(), stop.wait(5)))

    monkeypatch.setattr(run, "serve", serve)
    stop = threading.Event()
    stop.set()
    windows_service.host("proxy", stop, Events())
    assert seen == ["proxy", home, 9111, home.parent, True]
    assert Runs(home).restarts == 0


def test_wrong_settings_are_in_the_event_log_before_there_is_any_other(home: Path) -> None:
    (home / ".env").write_text("MAX_BODY_BYTES=many\n", encoding="utf-8")
    events = Events()
    with pytest.raises(ConfigurationError):
        windows_service.host("proxy", threading.Event(), events)
    assert len(events.told) == 1
    assert "MAX_BODY_BYTES" in events.told[0]
    assert "Traceback" not in events.told[0]


def test_a_fall_is_raised_to_the_service_manager_and_counted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(role: str, settings: Settings, stop: threading.Event) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(run, "serve", serve)
    for expected in (0, 1, 2):
        with pytest.raises(ZeroDivisionError):
            windows_service.host("proxy", threading.Event(), Events())
        assert Runs(home).restarts == expected
    monkeypatch.setattr(run, "serve", lambda *words: None)
    windows_service.host("proxy", threading.Event(), Events())
    assert Runs(home).restarts == 3
    windows_service.host("proxy", threading.Event(), Events())
    assert Runs(home).restarts == 0, "an orderly end begins anew"


def test_a_damaged_count_begins_anew(home: Path) -> None:
    (home / "service.json").write_text("{", encoding="utf-8")
    assert Runs(home).restarts is None
    Runs(home).began()
    assert Runs(home).restarts == 0
