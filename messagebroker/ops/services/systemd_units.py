"""The text of our systemd units: one service a role, one target for all, one file of accounts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from messagebroker.errors import ConfigurationError
from messagebroker.ops.services.plan import HEALTH_WAIT_SECONDS, PLANS, ServicePlan
from messagebroker.roles import GROUP
from messagebroker.settings import Settings

TARGET = "messagebroker.target"
SERVER_UNITS = {
    "mysql": ("mysql.service", "mysqld.service", "mariadb.service"),
    "redis": ("redis.service", "redis-server.service", "valkey.service"),
}
"""The names that distributions have for a server; those that are not on this machine do no harm."""

GROWING_DELAYS = 254
"""The version of systemd that can make the delay between restarts grow; older ones always wait the first one."""

FIRST_OPEN_PORT = 1024
_PLAIN = re.compile(r"[\w./@+-]+")
_HEAD = "# Written by `messagebroker services install`, which writes it again; to change something: `systemctl edit {unit}`\n"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one installation is on this machine."""

    root: Path
    program: Path  # the command `messagebroker`
    logs: Path | None
    backups: Path
    ports: dict[str, int] = field(default_factory=dict)  # role -> the port that its settings name
    systemd: int = GROWING_DELAYS  # the version


def place(settings: Settings, root: Path, program: Path, systemd: int) -> Place:
    """As the settings have it.

    Raises:
        ConfigurationError: a path cannot be written into a unit as it is.
    """
    ports = {plan.role: getattr(settings, plan.port.setting.lower()) for plan in PLANS if plan.port}
    logs = None if settings.log_file_path is None else settings.path(settings.log_file_path)
    backups = settings.path(settings.backup_dir)
    for path in (root, program, backups, *([logs] if logs else [])):
        if not _PLAIN.fullmatch(str(path)):
            raise ConfigurationError(f"the path {path} has characters that mean something in units; use letters, digits, ._-/")
    return Place(root=root, program=program, logs=logs, backups=backups, ports=ports, systemd=systemd)


def units(place: Place) -> dict[str, str]:
    """File name -> text, of all units."""
    return {f"{plan.unit}.service": service(plan, place) for plan in PLANS} | {TARGET: target()}


def service(plan: ServicePlan, place: Place) -> str:
    """The unit of one role."""
    after = [name for server in plan.needs_servers for name in SERVER_UNITS[server]]
    roles = [f"messagebroker-{role}.service" for role in plan.needs_roles]
    lines = [
        "[Unit]",
        f"Description={plan.display_name}: {plan.summary}",
        f"After={' '.join(['network-online.target', *after, *roles])}",
        f"Wants={' '.join(['network-online.target', *roles])}",
        f"PartOf={TARGET}",
        "StartLimitIntervalSec=0",  # it is never given up, as in every home
        "",
        "[Service]",
        "Type=exec",
        f"User={plan.account}",
        f"SupplementaryGroups={GROUP}",
        f"WorkingDirectory={place.root}",
        *(f"Environment={name}={value}" for name, value in plan.environment(place.root).items()),
        f"ExecStart={_command(place, plan.command)}",
        # what comes after it waits until it is ready; a role that only waits for its database is not ended for that
        f"ExecStartPost=-{_command(place, (*plan.health, '--wait', str(HEALTH_WAIT_SECONDS)))}",
        f"TimeoutStartSec={HEALTH_WAIT_SECONDS + 30}",
        "KillMode=mixed",
        f"TimeoutStopSec={plan.stop_seconds}",
        "Restart=always",
        f"RestartSec={plan.restart_seconds[0]}",
        *_growing(plan, place),
        f"SyslogIdentifier={plan.unit}",
        "",
        *_hardening(plan, place),
        "",
        "[Install]",
        f"WantedBy={TARGET}",
    ]
    return _HEAD.format(unit=plan.unit) + "\n".join(lines) + "\n"


def target() -> str:
    """All roles under one name, which starts with the machine."""
    wants = " ".join(f"{plan.unit}.service" for plan in PLANS)
    lines = ["[Unit]", "Description=Message Broker, all roles", f"Wants={wants}", "", "[Install]", "WantedBy=multi-user.target"]
    return _HEAD.format(unit=TARGET) + "\n".join(lines) + "\n"


def accounts() -> str:
    """For systemd-sysusers: an account without a password or a shell for each role, all in one group."""
    lines = [f"g {GROUP} -"]
    for plan in PLANS:
        lines += [f'u {plan.account} - "{plan.display_name}" / /usr/sbin/nologin', f"m {plan.account} {GROUP}"]
    return "# Written by `messagebroker services install`.\n" + "\n".join(lines) + "\n"


def _command(place: Place, words: tuple[str, ...]) -> str:
    return " ".join((str(place.program), *words))


def _growing(plan: ServicePlan, place: Place) -> list[str]:
    if place.systemd < GROWING_DELAYS:
        return []
    return [f"RestartSteps={len(plan.restart_seconds) - 1}", f"RestartMaxDelaySec={plan.restart_seconds[-1]}"]


def _hardening(plan: ServicePlan, place: Place) -> list[str]:
    """It may write its own home and the logs, sees no other home, and can become nobody else."""
    writable: list[PurePath] = [
        plan.home(place.root),
        *([place.logs] if place.logs else []),
        *([place.backups] if plan.writes_backups else []),
    ]
    hidden = [other.home(place.root) for other in PLANS if other.role != plan.role]
    hidden += [] if plan.writes_backups else [place.backups]
    low = 0 < place.ports.get(plan.role, 0) < FIRST_OPEN_PORT
    capabilities = "CAP_NET_BIND_SERVICE" if low else ""
    return [
        "NoNewPrivileges=yes",
        f"CapabilityBoundingSet={capabilities}",
        f"AmbientCapabilities={capabilities}",
        "UMask=0077",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        f"ReadWritePaths={_paths(writable)}",
        f"InaccessiblePaths={_paths(hidden)}",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "DevicePolicy=closed",
        "ProtectProc=invisible",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "ProtectControlGroups=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "MemoryDenyWriteExecute=yes",
        "KeyringMode=private",
        "RemoveIPC=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "SystemCallErrorNumber=EPERM",
    ]


def _paths(paths: list[PurePath]) -> str:
    """Each may be missing: a home that is handed out later, a role that is not used here."""
    return " ".join(f"-{path}" for path in paths)
