"""A new release in place of the running one, and back: all roles change, and no message is lost."""

from __future__ import annotations

import pytest
from support.windows import Windows
from support.windows_installation import ROOT, WindowsInstallation

from messagebroker.roles import ROLES

SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"


@pytest.mark.timeout(560)
def test_an_upgrade_and_the_way_back(windows: Windows, running: WindowsInstallation) -> None:
    before = running.stored()
    with running.client() as http:
        assert http.post("/api/v1/messages", json={"body": "before the upgrade"}).status_code == 202
    said = running.services("upgrade", r"C:\source", seconds=400).good().out
    assert "a message went all the way" in said
    assert [f"{role.name} replaced, ready" for role in ROLES if f"{role.name} replaced, ready" not in said] == []
    new = windows.read(rf"{ROOT}\releases\current.txt").strip()
    assert new != "test"
    assert runs(windows) == {new}
    assert "test is in use again" in running.services("rollback", seconds=300).good().out
    assert windows.read(rf"{ROOT}\releases\previous.txt").strip() == new
    assert runs(windows) == {"test"}
    running.wait_until_stored(before + 1)


def runs(windows: Windows) -> set[str]:
    """The releases that the services are started from."""
    images = [windows.run("reg", "query", rf"{SERVICES}\{role.service}", "/v", "ImagePath").good().out for role in ROLES]
    return {image.split("\\releases\\")[1].split("\\")[0] for image in images}
