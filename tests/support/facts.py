"""What a home gives each role, read back from what the home itself reads: units, the Compose file, Windows' commands."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml
from support import fake_win32
from support.fake_control import FakeControl

from messagebroker.ops import logs
from messagebroker.ops.services import systemd_units
from messagebroker.ops.services.plan import PLANS
from messagebroker.ops.services.programs import Answer
from messagebroker.ops.services.windows import WindowsServices
from messagebroker.ops.services.windows_units import HOST_MODULE, SHUTDOWN_MARGIN_SECONDS, WindowsUnit, units
from messagebroker.ops.services.windows_units import words as words_of
from messagebroker.roles import NAMES, SERVERS
from messagebroker.settings import Settings, load

COMPOSE_FILE = Path(__file__).parents[2] / "docker" / "compose.yaml"
ROOT = "/var/lib/messagebroker"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One role in one home. Paths are relative to the installation's root."""

    command: tuple[str, ...]
    environment: dict[str, str]  # what the home sets, beside what every role gets alike
    folder: str  # the working directory
    health: tuple[str, ...]
    needs: frozenset[str]
    restarts: str  # when it is started again
    starts_with_machine: bool
    stop_seconds: int


# Compose


def interpolated(text: str, variables: dict[str, str]) -> str:
    """As Compose reads it: ${NAME:-default}, ${NAME-default}, ${NAME}, $$; innermost first."""
    pattern = re.compile(r"(?<!\$)\$\{(\w+)(?:(:?-)([^${}]*))?\}")

    def value(found: re.Match[str]) -> str:
        name, operator, default = found.groups()
        given = variables.get(name)
        return given if given or (given is not None and operator != ":-") else default or ""

    while pattern.search(text):
        text = pattern.sub(value, text)
    return text.replace("$$", "$")


def compose_services(variables: dict[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """The services, with the defaults of .env unless `variables` say otherwise."""
    services: dict[str, dict[str, Any]] = yaml.safe_load(
        interpolated(COMPOSE_FILE.read_text(encoding="utf-8"), variables or {})
    )["services"]
    return services


def of_compose() -> dict[str, Facts]:
    found = {}
    for role, service in compose_services().items():
        if role not in NAMES:
            continue
        test = service["healthcheck"]["test"]
        assert test[:2] == ["CMD", "messagebroker"], f"{role}: {test}"
        found[role] = Facts(
            command=tuple(service["command"]),
            environment={"DATA_DIR": _below(service["environment"]["DATA_DIR"])},
            folder=_below(service.get("working_dir", image_folder())),
            health=tuple(test[2:]),
            needs=frozenset(name for name in service["depends_on"] if name in (*NAMES, *SERVERS)),
            restarts={"unless-stopped": "always"}.get(service["restart"], service["restart"]),
            starts_with_machine=service["restart"] in ("always", "unless-stopped"),
            stop_seconds=_seconds(service["stop_grace_period"]),
        )
    return found


def image_folder() -> str:
    """The image's working directory."""
    lines = (COMPOSE_FILE.parent / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return next(line.split()[1] for line in reversed(lines) if line.startswith("WORKDIR"))


def published_by_compose() -> dict[str, int]:
    """Role -> the container's port that is published."""
    return {
        role: int(service["ports"][0].rpartition(":")[2])
        for role, service in compose_services().items()
        if role in NAMES and service.get("ports")
    }


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text)
    assert found, text
    return int(found[1] or 0) * 60 + int(found[2] or 0)


def _below(path: str) -> str:
    assert path == ROOT or path.startswith(f"{ROOT}/"), f"{path} is not below {ROOT}"
    return path.removeprefix(ROOT).lstrip("/")


# systemd


def unit_sections(text: str) -> dict[str, list[str]]:
    """Key -> its values in order, of all sections; keys of different sections have different names."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith(("#", ";")):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def place() -> systemd_units.Place:
    return systemd_units.Place(
        root=Path(ROOT),
        program=Path("/opt/messagebroker/current/bin/messagebroker"),
        logs=Path(ROOT, "logs"),
        backups=Path(ROOT, "backups"),
        ports={"main": 8000, "proxy": 8001, "worker": 9100, "portal": 5000},
    )


def of_systemd() -> dict[str, Facts]:
    texts = systemd_units.units(place())
    wanted = unit_sections(texts[systemd_units.TARGET])["Wants"][0].split()
    return {plan.role: _unit(unit_sections(texts[f"{plan.unit}.service"]), f"{plan.unit}.service" in wanted) for plan in PLANS}


def _unit(unit: dict[str, list[str]], wanted: bool) -> Facts:
    after = unit["After"][0].split()
    servers = {server for server, names in systemd_units.SERVER_UNITS.items() if set(names) <= set(after)}
    roles = {role for role in NAMES if f"messagebroker-{role}.service" in after}
    health = shlex.split(unit["ExecStartPost"][0].removeprefix("-"))[1:]
    never_given_up = unit["StartLimitIntervalSec"] == ["0"]
    environment = dict(line.split("=", 1) for line in unit["Environment"])
    return Facts(
        command=tuple(shlex.split(unit["ExecStart"][0])[1:]),
        environment={name: _below(value) for name, value in environment.items()},
        folder=_below(unit["WorkingDirectory"][0]),
        health=tuple(health[: health.index("--wait")]),
        needs=frozenset(servers | roles),
        restarts=unit["Restart"][0] if never_given_up else "a few times",
        starts_with_machine=wanted and unit["WantedBy"] == [systemd_units.TARGET],
        stop_seconds=int(unit["TimeoutStopSec"][0]),
    )


# Windows

WINDOWS_ROOT = PureWindowsPath(r"C:\MessageBroker")
WINDOWS_SERVERS = {"mysql": "MySQL80", "redis": "Memurai"}


def windows_units() -> dict[str, WindowsUnit]:
    python = WINDOWS_ROOT / "venv" / "Scripts" / "python.exe"
    return {unit.role: unit for unit in units(WINDOWS_ROOT, python, WINDOWS_SERVERS)}


def windows_environment(unit: WindowsUnit) -> tuple[str, dict[str, str]]:
    """The folder that the service's program goes to, and the variables it sets, out of its command line."""
    words = words_of(unit.image)
    after = dict(itertools.pairwise(words))
    pairs = [after_set for word, after_set in itertools.pairwise(words) if word == "--set"]
    return after["--root"], dict(pair.split("=", 1) for pair in pairs)


def of_windows() -> dict[str, Facts]:
    return {role: _windows(unit) for role, unit in windows_units().items()}


def _windows(unit: WindowsUnit) -> Facts:
    words = words_of(unit.image)
    start_type, further = fake_win32.told(unit)
    folder, environment = windows_environment(unit)
    roles = {plan.name: plan.role for plan in PLANS} | {name: server for server, name in WINDOWS_SERVERS.items()}
    return Facts(
        command=tuple(words[words.index(HOST_MODULE) + 1 : words.index("--root")]),
        environment={name: PureWindowsPath(value).relative_to(WINDOWS_ROOT).as_posix() for name, value in environment.items()},
        folder="" if PureWindowsPath(folder) == WINDOWS_ROOT else folder,
        health=windows_health(unit.role),
        needs=frozenset(roles[name] for name in unit.needs),
        restarts="always" if further["SERVICE_CONFIG_FAILURE_ACTIONS"]["Actions"] else "never",
        starts_with_machine=start_type == "SERVICE_AUTO_START",
        stop_seconds=further["SERVICE_CONFIG_PRESHUTDOWN_INFO"] // 1000 - SHUTDOWN_MARGIN_SECONDS,
    )


def windows_health(role: str) -> tuple[str, ...]:
    """What is run to learn whether the role is ready."""
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str], *, seconds: float = 0, check: bool = True) -> Answer:
        asked.append(command)
        return Answer(0, "", "")

    control = FakeControl()
    control.create(windows_units()[role])
    assert WindowsServices(Path(WINDOWS_ROOT), control, run).readiness(role) is None
    words = list(asked[0])
    return tuple(words[words.index("messagebroker") + 1 :])


# all homes


def effective(role: str, environment: dict[str, str], root: Path) -> Settings:
    """The settings of a role's process in `root`, the current directory, given what its home sets."""
    moved = {name: str(value).replace(ROOT, str(root)) for name, value in environment.items()}
    return load(moved, role=role)


def log_of(role: str, settings: Settings, root: Path) -> str:
    """The role's log file, relative to the root."""
    assert settings.log_file_path is not None
    return (settings.path(settings.log_file_path) / logs.file_name(role)).relative_to(root).as_posix()
