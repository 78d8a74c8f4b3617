"""One system, several homes: what Compose, systemd and Windows give each role is the same.

Every home is read back from what it reads itself, and compared with the others and with the plan.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PureWindowsPath

import pytest
from support import facts
from support.facts import Facts

from messagebroker.cli import windows_service
from messagebroker.ops import homes, logs, windows_firewall
from messagebroker.ops.services.plan import PLAN_OF, PLANS
from messagebroker.roles import BY_NAME, NAMES, SECRET_VARIABLES
from messagebroker.settings import Settings, load

HOMES: dict[str, Callable[[], dict[str, Facts]]] = {
    "compose": facts.of_compose,
    "systemd": facts.of_systemd,
    "windows": facts.of_windows,
}

OF_CONTAINERS = {
    "main_server_host": "a container is reached by its own address",
    "proxy_host": "a container is reached by its own address",
    "portal_host": "a container is reached by its own address",
    "metrics_host": "a container is reached by its own address",
    "main_server_url": "servers have names in a network of containers",
    "proxy_url": "servers have names in a network of containers",
    "portal_public_url": "main reaches the portal by its container's name, people do not",
    "portal_url": "what people see is on another address than the container's",
}
"""The settings that a container has for being one. Everything else is the same in every home."""


def planned(role: str) -> Facts:
    plan = PLAN_OF[role]
    return Facts(
        command=plan.command,
        environment={"DATA_DIR": plan.folder},
        folder="",
        health=plan.health,
        needs=frozenset(plan.needs),
        restarts="always",
        starts_with_machine=True,
        stop_seconds=plan.stop_seconds,
    )


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("role", NAMES)
def test_every_home_runs_a_role_as_planned(role: str, home: str) -> None:
    found = HOMES[home]()
    assert set(found) == set(NAMES)
    assert found[role] == planned(role)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root as `setup` leaves it, as the current directory."""
    homes.shared_settings(tmp_path)
    secrets = {
        "DATABASE_URL": "mysql://systemuser:p@localhost/message_system",
        "REDIS_URL": "redis://localhost:6379/0",
        "JWT_SECRET": "0123456789abcdef" * 4,
    }
    for home in homes.homes(tmp_path):
        home.path.mkdir()
        own = {name: value for name, value in secrets.items() if name in home.role.variables}
        (home.path / ".env").write_text("".join(f"{name}={value}\n" for name, value in own.items()), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environments(role: str, root: Path) -> dict[str, dict[str, str]]:
    """What the process of a role finds in its environment, by home."""
    container = {name: str(value) for name, value in facts.compose_services()[role]["environment"].items() if name != "TZ"}
    unit = facts.unit_sections(facts.systemd_units.service(PLAN_OF[role], facts.place()))
    systemd = dict(line.split("=", 1) for line in unit["Environment"])
    _, given = facts.windows_environment(facts.windows_units()[role])
    windows = {
        name: str(root / PureWindowsPath(value).relative_to(facts.WINDOWS_ROOT).as_posix()) for name, value in given.items()
    }
    return {"compose": container, "systemd": systemd, "windows": windows}


@pytest.mark.parametrize("role", NAMES)
def test_every_home_gives_a_role_the_same_settings(role: str, installation: Path) -> None:
    found = {home: facts.effective(role, given, installation) for home, given in environments(role, installation).items()}
    of_services = found.pop("systemd")
    for home, settings in found.items():
        different = {
            field: (getattr(of_services, field), getattr(settings, field))
            for field in Settings.model_fields
            if field not in OF_CONTAINERS and getattr(of_services, field) != getattr(settings, field)
        }
        assert not different, f"{role}: (in services, in {home})"


@pytest.mark.parametrize("role", NAMES)
def test_every_home_has_the_port_and_the_log_of_the_plan(role: str, installation: Path) -> None:
    plan = PLAN_OF[role]
    for home, given in environments(role, installation).items():
        settings = facts.effective(role, given, installation)
        assert facts.log_of(role, settings, installation) == f"logs/{plan.log_file}", home
        if plan.port:
            assert getattr(settings, plan.port.setting.lower()) == plan.port.number, home


def test_the_same_ports_are_open_to_others() -> None:
    published = {plan.role: plan.port.number for plan in PLANS if plan.port and plan.port.published}
    assert facts.published_by_compose() == published
    opened = {rule.port for rule in windows_firewall.rules(load({})) if rule.allow and rule.remote == "any"}
    assert opened == set(published.values())


def test_every_home_has_the_log_under_the_same_name() -> None:
    assert {role: PLAN_OF[role].log_file for role in NAMES} == {role: logs.file_name(role) for role in NAMES}


def test_windows_waits_for_a_role_as_long_as_the_others_do() -> None:
    for plan in PLANS:
        assert windows_service.wait_hint_seconds(BY_NAME[plan.role]) > plan.stop_seconds


@pytest.mark.parametrize("role", NAMES)
def test_no_home_puts_a_secret_into_the_environment(role: str) -> None:
    forbidden = {*SECRET_VARIABLES, *(f"{name}_FILE" for name in SECRET_VARIABLES)}
    container = set(facts.compose_services()[role]["environment"])
    assert not forbidden & (container | set(PLAN_OF[role].environment(Path(facts.ROOT))))


def test_a_container_mounts_its_own_home_and_no_other() -> None:
    folders = {plan.folder for plan in PLANS}
    for plan in PLANS:
        mounted = {str(volume).split(":")[-1].removesuffix(":ro") for volume in facts.compose_services()[plan.role]["volumes"]}
        seen = {path.removeprefix(facts.ROOT + "/") for path in mounted}
        assert seen & folders == {plan.folder}
        assert ("backups" in seen) == plan.writes_backups


def test_delays_between_restarts_grow_where_the_home_lets_us_say_so() -> None:
    for plan in PLANS:
        unit = facts.unit_sections(facts.systemd_units.service(plan, facts.place()))
        first, *_, last = plan.restart_seconds
        assert (unit["RestartSec"], unit["RestartMaxDelaySec"]) == ([str(first)], [str(last)])
        assert int(unit["RestartSteps"][0]) == len(plan.restart_seconds) - 1
        assert facts.windows_units()[plan.role].restart_seconds == plan.restart_seconds


def test_the_documents_show_what_differs() -> None:
    text = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
    for field in OF_CONTAINERS:
        assert re.search(rf"`{field.upper()}`", text), f"docs/operations.md does not say why {field.upper()} differs"
