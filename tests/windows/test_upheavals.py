"""A power cut, and the end: the last tests of the machine, as nothing else runs beside them."""

from __future__ import annotations

from support.windows import Windows
from support.windows_installation import ROOT, WindowsInstallation

from messagebroker.ops.services.order import stop_order
from messagebroker.roles import ROLES

SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"


def test_after_a_power_cut_the_roles_start_with_the_machine(running: WindowsInstallation) -> None:
    with running.client() as http:
        running.kill("worker")
        answer = http.post("/api/v1/messages", json={"body": "accepted before the power went"})
        assert answer.status_code == 202
        before = running.stored()
    running.windows.power_cut()
    running.windows.boot()
    running.wait_until_stored(before + 1, seconds=90)
    for role in ROLES:
        running.windows.wait_for_state(role.service, "RUNNING", seconds=60)


def test_all_stop_in_order_with_one_command(running: WindowsInstallation) -> None:
    said = running.services("stop", seconds=240).good().out
    assert said.splitlines() == [f"{role} stopped" for role in stop_order()]
    for role in ROLES:
        assert running.windows.state_of(role.service) == "STOPPED"
        assert '"role stopped"' in running.log(role.name).splitlines()[-1]


def test_uninstalling_leaves_no_service_and_all_data(windows: Windows, installation: WindowsInstallation) -> None:
    installation.services("uninstall", "--yes", seconds=240).good()
    for role in ROLES:
        assert windows.state_of(role.service) == "-"
        assert windows.run("reg", "query", rf"{SERVICES}\EventLog\Application\{role.service}").code != 0
    assert windows.path(rf"{ROOT}\main_server\ca\ca.key").exists()
    assert "made, runs as" in installation.services("install").good().out
