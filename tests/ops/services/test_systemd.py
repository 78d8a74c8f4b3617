"""What the systemd home makes of systemctl's answers; tests on a real systemd are in the tier of that name."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.scripted_run import ScriptedRun

from messagebroker.errors import ConfigurationError, NotFound, Refused
from messagebroker.ops.services import systemd_install, systemd_units
from messagebroker.ops.services.plan import PLAN_OF
from messagebroker.ops.services.programs import Answer
from messagebroker.ops.services.systemd import Systemd
from messagebroker.ops.services.systemd_units import Place, place, service
from messagebroker.roles import NAMES
from messagebroker.settings import load

ROOT = Path("/var/lib/messagebroker")


def shown(role: str, **values: str) -> str:
    began = int((time.clock_gettime(time.CLOCK_MONOTONIC) - 60) * 1e6)
    given = {
        "Id": f"messagebroker-{role}.service",
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "UnitFileState": "enabled",
        "NRestarts": "0",
        "Result": "success",
        "ExecMainStatus": "0",
        "StateChangeTimestampMonotonic": str(began),
        **values,
    }
    return "".join(f"{name}={value}\n" for name, value in given.items())


def test_states_are_words_of_every_home() -> None:
    text = "\n".join(
        [
            shown("main"),
            shown(
                "proxy",
                ActiveState="activating",
                SubState="auto-restart",
                Result="exit-code",
                ExecMainStatus="3",
                NRestarts="7",
            ),
            shown("worker", ActiveState="deactivating"),
            shown("scheduler", ActiveState="failed", Result="timeout", UnitFileState="disabled"),
            shown("portal", LoadState="not-found", UnitFileState=""),
        ]
    )
    main, proxy, worker, scheduler, portal = Systemd(ROOT, ScriptedRun({"systemctl show": text})).states()
    assert (main.state, main.start_type, main.restarts, main.detail) == ("running", "automatic", 0, "")
    assert main.since is not None
    assert abs((datetime.now(UTC) - main.since).total_seconds() - 60) < 5
    assert (proxy.state, proxy.restarts) == ("failed", 7)
    assert proxy.detail == "ended by exit-code (exit code 3), will be started again"
    assert worker.state == "stopping"
    assert (scheduler.state, scheduler.start_type) == ("failed", "manual")
    assert "ended by timeout" in scheduler.detail
    assert (portal.state, portal.start_type) == ("missing", "-")


def test_the_health_check_is_asked_as_the_unit_runs() -> None:
    asked: list[tuple[str, Path, dict[str, str]]] = []
    health = ScriptedRun({"/opt/": Answer(1, "NOT READY  proxy  redis: gone", "")})
    unit = (
        "User=messagebroker-proxy\nWorkingDirectory=/var/lib/messagebroker\n"
        "Environment=DATA_DIR=/var/lib/messagebroker/proxy\n"
        "ExecStart={ path=/opt/mb/bin/messagebroker ; argv[]=/opt/mb/bin/messagebroker run proxy ; }\n"
    )

    def asking(account: str, folder: Path, variables: dict[str, str]) -> ScriptedRun:
        asked.append((account, folder, variables))
        return health

    found = Systemd(ROOT, ScriptedRun({"systemctl show": unit}), asking).readiness("proxy", wait=5)
    assert found == "NOT READY  proxy  redis: gone"
    assert asked == [("messagebroker-proxy", ROOT, {"DATA_DIR": "/var/lib/messagebroker/proxy"})]
    assert health.called == ["/opt/mb/bin/messagebroker health proxy --wait 5"]


def test_what_is_not_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    run = ScriptedRun({"systemctl start": Answer(5, "", "Unit messagebroker-main.service not found.")})
    with pytest.raises(NotFound, match="messagebroker services install"):
        Systemd(ROOT, run).start("main")
    with pytest.raises(NotFound, match="messagebroker services install"):
        Systemd(ROOT, ScriptedRun()).readiness("main")


def test_only_root_changes_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    run = ScriptedRun()
    with pytest.raises(Refused, match="needs root; put `sudo`"):
        Systemd(ROOT, run).stop("main", seconds=15)
    with pytest.raises(Refused, match="needs root"):
        Systemd(ROOT, run).install()
    assert run.called == []


def here(**values: object) -> Place:
    given: dict[str, object] = {
        "root": ROOT,
        "program": Path("/opt/mb/bin/messagebroker"),
        "logs": ROOT / "logs",
        "backups": ROOT / "backups",
        **values,
    }
    return Place(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", NAMES)
def test_a_unit_hides_every_home_but_its_own(role: str) -> None:
    lines = service(PLAN_OF[role], here()).splitlines()
    hidden = next(line for line in lines if line.startswith("InaccessiblePaths="))
    writable = next(line for line in lines if line.startswith("ReadWritePaths="))
    for other in NAMES:
        folder = f"-{ROOT / PLAN_OF[other].folder}"
        assert (folder in hidden.partition("=")[2].split()) == (other != role)
        assert (folder in writable.partition("=")[2].split()) == (other == role)
    assert ("CapabilityBoundingSet=" in lines) is True


def test_a_unit_lets_deliveries_out() -> None:
    lines = service(PLAN_OF["worker"], here()).splitlines()
    families = next(line for line in lines if line.startswith("RestrictAddressFamilies="))
    assert {"AF_INET", "AF_INET6", "AF_UNIX"} <= set(families.partition("=")[2].split())  # AF_UNIX: the system's resolver
    assert [line for line in lines if line.startswith(("IPAddress", "PrivateNetwork", "SocketBind", "LimitNOFILE"))] == []


def test_a_low_port_costs_one_capability() -> None:
    lines = service(PLAN_OF["proxy"], here(ports={"proxy": 443})).splitlines()
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in lines
    assert "AmbientCapabilities=" in service(PLAN_OF["main"], here(ports={"proxy": 443})).splitlines()


def test_an_older_systemd_is_not_told_what_it_does_not_know() -> None:
    assert "RestartSteps=2" in service(PLAN_OF["main"], here(systemd=254))
    assert "RestartSteps" not in service(PLAN_OF["main"], here(systemd=252))


def test_a_path_that_units_would_read_differently_is_refused(tmp_path: Path) -> None:
    settings = load({}, data_dir=tmp_path, log_file_path=Path("/var/log/100% mine"))
    with pytest.raises(ConfigurationError, match="100% mine has characters"):
        place(settings, ROOT, Path("/opt/mb/bin/messagebroker"), 254)


def test_accounts_have_no_shell_and_one_group() -> None:
    lines = systemd_units.accounts().splitlines()
    for role in NAMES:
        assert any(line.startswith(f"u messagebroker-{role} ") and line.endswith("/usr/sbin/nologin") for line in lines)
        assert f"m messagebroker-{role} messagebroker" in lines


def test_a_program_that_services_cannot_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "messagebroker").touch()
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    monkeypatch.setattr(systemd_install, "HIDDEN_FROM_SERVICES", (tmp_path.parent,))
    with pytest.raises(ConfigurationError, match="which services do not see"):
        systemd_install.program()
    monkeypatch.setattr(systemd_install, "HIDDEN_FROM_SERVICES", ())
    assert systemd_install.program() == tmp_path / "bin" / "messagebroker"
