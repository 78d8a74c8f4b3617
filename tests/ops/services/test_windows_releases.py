"""Releases of a Windows installation: which is in use, which was before, and what is run to make one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from messagebroker.errors import Refused
from messagebroker.ops.services.order import stop_order
from messagebroker.ops.services.programs import Answer
from messagebroker.ops.services.windows_control import Found
from messagebroker.ops.services.windows_releases import WindowsReleases

PYTHON = Path("/srv/python/python.exe")


class Manager:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def stop(self, role: str, *, seconds: float) -> None:
        self.calls.append(("stop", role))

    def start(self, role: str) -> None:
        self.calls.append(("start", role))


class Control:
    def __init__(self, image: str = "") -> None:
        self.image = image

    def find(self, name: str) -> Found | None:
        if not self.image:
            return None
        return Found(
            name=name, display_name="", image=self.image, account="", needs=(), start_type="delayed", state="running", pid=1,
            exit_code=0,
        )  # fmt: skip


class Programs:
    """Makes an interpreter where a release is asked for; `fails`: words that end with an error."""

    def __init__(self, fails: str = "") -> None:
        self.commands: list[list[str]] = []
        self.fails = fails

    def __call__(self, command: Sequence[str], *, seconds: float = 0, check: bool = True) -> Answer:
        self.commands.append(list(command))
        if command[-2:-1] == ["release"]:
            python = Path(command[-1]) / "Scripts" / "python.exe"
            python.parent.mkdir(parents=True)
            python.touch()
        if self.fails and self.fails in command:
            raise Refused("failed")
        return Answer(0, "", "")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n', encoding="utf-8")
    for name in ("requirements.lock", "bootstrap.py"):
        (folder / name).touch()
    return folder


def releases(tmp_path: Path, run: Programs | None = None, image: str = "", manager: Manager | None = None) -> WindowsReleases:
    root = tmp_path / "root"
    (root / "releases").mkdir(parents=True, exist_ok=True)
    fakes: dict[str, Any] = {"manager": manager or Manager(), "control": Control(image), "run": run or Programs()}
    return WindowsReleases(root, here=tmp_path, python=PYTHON, **fakes)


def test_the_service_says_which_release_is_in_use_until_an_upgrade_notes_it(tmp_path: Path, source: Path) -> None:
    image = r'"C:\MessageBroker\releases\0.1.0-1\Scripts\python.exe" -I -m messagebroker.cli.windows_service run main'
    found = releases(tmp_path, image=image)
    assert (found.in_use(), found.previous()) == ("0.1.0-1", None)
    new = found.prepare("source")
    found.use(new, "0.1.0-1")
    assert found.in_use() == new
    assert found.previous() is None, "it is not kept here"


def test_without_services_there_is_nothing_to_upgrade(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"install\.ps1"):
        releases(tmp_path).in_use()


def test_the_one_before_is_kept_and_older_ones_go(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(("1", "2", "3"))
    monkeypatch.setattr("messagebroker.ops.services.windows_releases.named", lambda project: next(names))
    found = releases(tmp_path, image=r'"C:\x\releases\1\Scripts\python.exe" x')
    for _ in range(3):
        found.use(found.prepare("source"), found.in_use())
    found.tidy()
    assert (found.in_use(), found.previous()) == ("3", "2")
    assert {path.name for path in (tmp_path / "root" / "releases").iterdir() if path.is_dir()} == {"2", "3"}
    found.use("2", "3")
    assert (found.in_use(), found.previous()) == ("2", "3")
    found.use("2", None)
    assert found.previous() is None


def test_a_release_is_made_by_its_own_bootstrap(tmp_path: Path, source: Path) -> None:
    run = Programs()
    name = releases(tmp_path, run).prepare("source")
    assert name.startswith("0.2.0-")
    target = tmp_path / "root" / "releases" / name
    assert run.commands[0] == [str(PYTHON), str(source / "bootstrap.py"), "release", str(target)]
    assert run.commands[1][1:] == ["-I", "-m", "messagebroker", "version"]


@pytest.mark.parametrize("fails", ["release", "version"])
def test_nothing_is_left_of_a_release_that_could_not_be_made(tmp_path: Path, source: Path, fails: str) -> None:
    with pytest.raises(Refused, match="could not be made"):
        releases(tmp_path, Programs(fails)).prepare("source")
    assert list((tmp_path / "root" / "releases").iterdir()) == []


def test_a_folder_without_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"has no pyproject\.toml"):
        releases(tmp_path).prepare(".")


def test_what_needs_a_role_stops_before_it_is_replaced(tmp_path: Path) -> None:
    manager = Manager()
    releases(tmp_path, manager=manager).replace("main", seconds=15)
    assert manager.calls == [("stop", role) for role in stop_order({"main", "proxy", "portal"})] + [("start", "main")]
    manager.calls.clear()
    releases(tmp_path, manager=manager).replace("worker", seconds=60)
    assert manager.calls == [("stop", "worker"), ("start", "worker")]
