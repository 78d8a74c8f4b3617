"""Root's commands act as the installation's owner; tried in a process of its own, as there is no way back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from messagebroker.ops.owner import act_as_owner

OWNER = 54321
CODE = "import os; from messagebroker.ops.owner import act_as_owner; act_as_owner(); print(os.geteuid(), os.getgroups())"
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def tried(folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "DATA_DIR"} | environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_root_gives_its_rights_up_in_somebodys_installation(tmp_path: Path) -> None:
    home = tmp_path / "main_server"
    home.mkdir()
    (tmp_path / ".env").write_text("DATA_DIR=main_server\n", encoding="utf-8")
    mine = tried(tmp_path)
    assert mine.split()[0] == str(os.geteuid()), "an installation of one's own"
    if IS_ROOT:  # anybody else has nothing to give up, and cannot make somebody else's folder
        os.chown(home, OWNER, OWNER)
        assert tried(tmp_path) == f"{OWNER} []"
        assert tried(tmp_path, DATA_DIR=str(home)) == f"{OWNER} []"


def test_without_an_installation_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    before = os.getpid()
    act_as_owner()
    assert os.getpid() == before
    (tmp_path / "written").touch()
    assert (tmp_path / "written").stat().st_uid == tmp_path.stat().st_uid
