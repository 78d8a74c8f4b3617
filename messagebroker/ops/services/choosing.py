"""Which home this machine gives the roles: Windows services, systemd or Compose."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from messagebroker.errors import ConfigurationError
from messagebroker.ops.services import systemd_install
from messagebroker.ops.services.compose import Compose
from messagebroker.ops.services.compose_releases import ComposeReleases
from messagebroker.ops.services.manager import Manager
from messagebroker.ops.services.releases import Releases
from messagebroker.ops.services.systemd import Systemd
from messagebroker.ops.services.systemd_releases import SystemdReleases
from messagebroker.ops.services.systemd_units import TARGET
from messagebroker.ops.services.windows_releases import WindowsReleases

HOMES = ("windows", "systemd", "compose")
COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def manager_of(home: str | None, root: Path) -> Manager:
    """The manager of `home`, by default of the one that is in use here.

    Raises:
        ConfigurationError: none is, or `home` is not one of HOMES or cannot be on this system.
    """
    home = home or found()
    if home not in HOMES:
        raise ConfigurationError(f"{home} is no home of services; there are {', '.join(HOMES)}")
    if (home == "windows") != (os.name == "nt") and home != "compose":
        raise ConfigurationError(f"there are no services of {home} on this system; --home says which to drive")
    if home == "windows":
        windows: Callable[[Path], Manager] = import_module("messagebroker.ops.services.windows").manager
        return windows(root)  # pywin32 is on Windows only
    return Systemd(root) if home == "systemd" else Compose(compose_folder())


def releases_of(manager: Manager, root: Path, here: Path, wheels: Path | None = None) -> Releases:
    """The releases of the home that `manager` drives.

    Args:
        manager: from `manager_of`.
        root: of the installation.
        here: the folder that the operator is in.
        wheels: a folder with packages, for a machine that reaches no package index.
    """
    if isinstance(manager, Systemd):
        return SystemdReleases(root, manager, here, wheels=wheels)
    if isinstance(manager, Compose):
        return ComposeReleases(compose_folder())
    return WindowsReleases(root, manager, here, wheels=wheels)


def found(environment: Mapping[str, str] = os.environ) -> str:
    """The home in use here: installed units win over a Compose file that lies about, and that over a home that could be."""
    if os.name == "nt":
        return "windows"
    if (systemd_install.UNITS / TARGET).exists():
        return "systemd"
    if shutil.which("docker") and _compose_folder(environment) is not None:
        return "compose"
    if systemd_install.RUNNING.is_dir():
        return "systemd"
    raise ConfigurationError(
        "no services are here: no systemd units are installed, and there is no Compose file in this folder or in ./docker;"
        " go to the folder with the Compose file, or name the home with --home"
    )


def compose_folder() -> Path:
    """What `docker compose` has to be run in.

    Raises:
        ConfigurationError: there is no Compose file here.
    """
    folder = _compose_folder(os.environ)
    if folder is None:
        raise ConfigurationError("there is no Compose file in this folder or in ./docker; go where it is, or set COMPOSE_FILE")
    return folder


def _compose_folder(environment: Mapping[str, str]) -> Path | None:
    here = Path.cwd()
    if environment.get("COMPOSE_FILE"):
        return here
    folders = (here, here / "docker")
    return next((folder for folder in folders if has_compose_file(folder)), None)


def has_compose_file(folder: Path) -> bool:
    """Whether `docker compose` finds a project there."""
    return any((folder / name).is_file() for name in COMPOSE_FILES)
