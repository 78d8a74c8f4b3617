from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from messagebroker.ops import interpreter


def test_the_process_that_is_started_is_the_one_that_works() -> None:
    """In a virtual environment on Windows `sys.executable` only starts another one."""
    command = interpreter.command("-c", "import os, sys; print(os.getpid(), sys.prefix)")
    with subprocess.Popen(command, env={**os.environ, **interpreter.variables()}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pid, prefix = process.stdout.read().strip().split(" ", 1)
    assert int(pid) == process.pid
    assert Path(prefix) == Path(sys.prefix)


def test_the_current_folder_is_no_place_to_import_from(tmp_path: Path) -> None:
    (tmp_path / "messagebroker.py").write_text("raise SystemExit('not mine')", encoding="utf-8")
    command = interpreter.command("-c", "import messagebroker.roles")
    subprocess.run(command, env={**os.environ, **interpreter.variables()}, cwd=tmp_path, check=True, timeout=60)


def test_the_starter_of_an_environment_is_passed_by_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter.os, "name", "nt")
    monkeypatch.setattr(sys, "executable", r"C:\MessageBroker\releases\1\Scripts\python.exe")
    monkeypatch.setattr(sys, "_base_executable", r"C:\Program Files\Python311\python.exe")
    assert interpreter.command("-c", "x")[0] == r"C:\Program Files\Python311\python.exe"
    assert interpreter.variables() == {"__PYVENV_LAUNCHER__": sys.executable}
    monkeypatch.setattr(sys, "executable", r"c:\program files\python311\python.exe")
    assert interpreter.variables() == {}
