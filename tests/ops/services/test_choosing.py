from __future__ import annotations

from pathlib import Path

import pytest

from messagebroker.errors import ConfigurationError
from messagebroker.ops.services import choosing, systemd_install


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing of ours: no units, no systemd, no docker, no Compose file."""
    monkeypatch.setattr(systemd_install, "UNITS", tmp_path / "units")
    monkeypatch.setattr(systemd_install, "RUNNING", tmp_path / "no-systemd")
    monkeypatch.setattr("shutil.which", lambda name: None)
    (tmp_path / "units").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_machine_with_none_says_what_to_do(bare: Path) -> None:
    with pytest.raises(ConfigurationError, match="--home"):
        choosing.found({})


def test_installed_units_win_over_a_compose_file(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    (bare / "docker").mkdir()
    (bare / "docker" / "compose.yaml").touch()
    assert choosing.found({}) == "compose"
    (bare / "units" / "messagebroker.target").touch()
    assert choosing.found({}) == "systemd"


def test_a_machine_with_systemd_can_be_installed_on(bare: Path) -> None:
    (bare / "no-systemd").mkdir()
    assert choosing.found({}) == "systemd"


def test_an_unknown_home_and_one_of_another_system_are_refused(bare: Path) -> None:
    with pytest.raises(ConfigurationError, match="no home of services; there are windows, systemd, compose"):
        choosing.manager_of("kubernetes", bare)
    with pytest.raises(ConfigurationError, match="no services of windows on this system"):
        choosing.manager_of("windows", bare)
