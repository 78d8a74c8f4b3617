from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from messagebroker.cli import up
from messagebroker.cli.up import _curl, _smoke
from messagebroker.settings import load


def test_the_printed_line_can_be_pasted_wherever_the_data_is(tmp_path: Path) -> None:
    certs = tmp_path / "Ada's own data" / "certs"
    words = shlex.split(_curl(load({}, data_dir=tmp_path), certs))
    assert words[:3] == ["curl", "--cacert", str(certs / "ca.crt")]
    assert words[-3:] == ["--json", '{"body": "hello"}', "https://localhost:8001/api/v1/messages"]


def test_the_check_is_printed_with_the_path_of_this_program(tmp_path: Path) -> None:
    certs = tmp_path / "Ada's own data" / "certs"
    words = shlex.split(_smoke(load({}, data_dir=tmp_path, proxy_port=18001), certs))
    program = Path(words[0])
    assert (program.is_absolute(), program.name) == (True, "messagebroker")
    assert program.parent == Path(sys.executable).parent
    assert words[1:] == [
        "smoke", "--url", "https://localhost:18001", "--cert", str(certs / "demo.crt"), "--ca", str(certs / "ca.crt"),
    ]  # fmt: skip


def test_on_windows_it_is_the_program_and_the_quotes_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = tmp_path / "my files"
    scripts.mkdir()
    monkeypatch.setattr(up.sys, "executable", str(scripts / "python.exe"))
    monkeypatch.setattr(up, "_WINDOWS", True)
    settings = load({}, data_dir=tmp_path)
    assert _smoke(settings, tmp_path).startswith(f'"{scripts / "python.exe"}" -m messagebroker smoke --url ')
    (scripts / "messagebroker.exe").touch()
    assert _smoke(settings, tmp_path).startswith(f'"{scripts / "messagebroker.exe"}" smoke --url ')
    assert r'--json "{\"body\": \"hello\"}" https://' in _curl(settings, tmp_path)
