"""Who listens on a TCP port of this machine."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from messagebroker.errors import Conflict
from messagebroker.roles import ROLES, Role
from messagebroker.settings import Settings

_TAKEN = {errno.EADDRINUSE, *([errno.EACCES, 10013, 10048] if os.name == "nt" else [])}
"""What the system says then; Windows forbids the access when the other one listens exclusively."""


@dataclass(frozen=True)
class Holder:
    """The process that listens on a port. `str` gives `name (pid N)`."""

    pid: int
    name: str
    role: str | None = None  # of ours

    def __str__(self) -> str:
        return f"messagebroker run {self.role} (pid {self.pid})" if self.role else f"{self.name} (pid {self.pid})"


def is_taken(host: str, port: int) -> bool:
    """Whether a server on `host` could not bind `port` now because somebody else has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)  # Windows, where SO_REUSEADDR would share the port
        probe.setsockopt(socket.SOL_SOCKET, exclusive if exclusive is not None else socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:  # also when `host` is no address of this machine
            return error.errno in _TAKEN
    return False


def holder(port: int) -> Holder | None:
    """The process that listens on `port`, None when nobody does or it may not be seen."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS without root
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] == port and connection.pid:
            return _described(connection.pid)
    return None


def _described(pid: int) -> Holder:
    try:
        process = psutil.Process(pid)
        return Holder(pid, process.name(), _role(process.cmdline()))
    except psutil.Error:
        return Holder(pid, "a process")


_PROGRAMS = ("messagebroker", "messagebroker.exe", "messagebroker.cli.windows_service")


def _role(words: list[str]) -> str | None:
    """The role that a command line runs: `python -m messagebroker run ROLE`, or the console script by its path."""
    for program, command, role in zip(words, words[1:], words[2:], strict=False):
        if command == "run" and Path(program).name.lower() in _PROGRAMS:
            return role
    return None


def require_free(settings: Settings, roles: Iterable[Role] = ROLES) -> None:
    """Before anything is started.

    Raises:
        Conflict: with a sentence for each port of `roles` that somebody holds.
    """
    problems = []
    for role in roles:
        if role.port_setting is None:
            continue
        port: int = getattr(settings, role.port_setting)
        host: str = getattr(settings, role.port_setting.replace("_port", "_host"))
        if port and is_taken(host, port):
            who = holder(port) or "a process of another user"
            problems.append(
                f"port {port} of {role.name} is taken by {who}; stop it, or set {role.port_setting.upper()} to another"
            )
    if problems:
        raise Conflict("\n       ".join(problems))
