"""Our services under the service manager of a Windows machine: install, start, stop, restart, a fall, uninstall."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.windows import Windows
from support.windows_installation import ROOT, WindowsInstallation

from messagebroker.roles import ROLES


@pytest.fixture
def running(installation: WindowsInstallation) -> Iterator[WindowsInstallation]:
    """Everything started, in order."""
    started = installation.services("start", seconds=240)
    assert started.code == 0, started.text + "".join(installation.log(role.name)[-1500:] for role in ROLES)
    yield installation
    installation.services("stop", seconds=240).good()


def test_all(running: WindowsInstallation) -> None:
    print(running.states())
    print(running.operator("smoke").text)
    print(running.services("stop").text)
    print(running.services("status").text)
