"""Making, mending and removing the services of Windows, with the rights that each role's files need."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import psutil

from messagebroker.errors import ConfigurationError
from messagebroker.ops import event_log, homes, old_files, old_names
from messagebroker.ops.rights_windows import WindowsRights
from messagebroker.ops.services import windows_accounts
from messagebroker.ops.services.plan import ServicePlan
from messagebroker.ops.services.windows_control import Control, Found
from messagebroker.ops.services.windows_servers import local_servers
from messagebroker.ops.services.windows_units import WindowsUnit, units
from messagebroker.settings import Settings, load

PASSWORD = "SERVICE_ACCOUNT_PASSWORD"  # nosec B105 # noqa: S105 - a variable's name
"""The variable with the password of `--account`; an argument would be seen by every user of the machine."""

HandOut = Callable[[Settings, Path], list[homes.Change]]
Lock = Callable[[Path], list[Path]]


def lock_tools(root: Path) -> list[Path]:
    """What is in a role's home and is run by administrators."""
    rights = WindowsRights()
    tools = ((root / old.path, home.role) for home in homes.homes(root) for old in old_names.of_system(old_names.WINDOWS)
             if PurePosixPath(old.path).parts[0] == home.role.folder)  # fmt: skip
    return [path for file, role in tools for path in rights.tool(file, role)]


def install(
    root: Path,
    control: Control,
    *,
    account: str | None = None,
    hand_out: HandOut = homes.hand_out,
    lock: Lock = lock_tools,
    python: Path | None = None,
) -> list[str]:
    """Services, event sources and file rights as they have to be; a sentence for each change.

    Raises:
        ConfigurationError: there is no installation in `root`, or services could not read this Python.
    """
    if not (root / ".env").exists():
        raise ConfigurationError(f"{root} holds no installation; `messagebroker setup --root {root}` makes one")
    settings = load(data_dir=homes.main_home(root))
    program = python or Path(sys.executable)
    require_readable_python(program, Path(sys.base_prefix))
    servers = local_servers(settings, control.images(), lambda name: _ports(control, name))
    if account is not None:
        windows_accounts.allow_logon_as_service(account)
    password = os.environ.get(PASSWORD)
    changes = []
    for planned in units(PureWindowsPath(root), PureWindowsPath(program), servers, _in_full(account)):
        unit = planned if account else _with_its_account(planned, control.find(planned.name))
        event_log.register(unit.name)
        changes += make_or_mend(control, unit, password)
    for folder in (settings.log_file_path, settings.backup_dir):
        if folder is not None:
            settings.path(folder).mkdir(parents=True, exist_ok=True)
    changes += old_files.write(root, program, old_names.WINDOWS)
    changes += [str(change) for change in hand_out(settings, root)]
    return changes + [f"{path}: rights corrected" for path in lock(root)]


def make_or_mend(control: Control, unit: WindowsUnit, password: str | None) -> list[str]:
    """One service; what Windows does not show (recovery actions and the like) is set again each time."""
    before = control.find(unit.name)
    if before is None:
        control.create(unit)
    missing = control.configure(unit, password)
    if before is None:
        return [f"{unit.name}: made, runs as {unit.account}, starts with the machine", *missing]
    return [f"{unit.name}: {what} corrected" for what in differences(unit, before)]


def _with_its_account(unit: WindowsUnit, found: Found | None) -> WindowsUnit:
    """An account that an operator gave it stays, until another one is said; its password is not needed for that."""
    given = found is not None and not found.account.lower().startswith(("nt service\\", "nt authority\\", "localsystem"))
    return replace(unit, account=found.account) if found is not None and given else unit


def _in_full(account: str | None) -> str | None:
    """The service manager takes an account of this machine only with `.\\` before it."""
    return account if account is None or "\\" in account or "@" in account else f".\\{account}"


def differences(unit: WindowsUnit, found: Found) -> list[str]:
    """What was not as it has to be."""
    pairs: dict[str, tuple[object, object]] = {
        "its command line": (unit.image, found.image),
        "its account": (unit.account.lower(), found.account.lower()),
        "what it depends on": ({name.lower() for name in unit.needs}, {name.lower() for name in found.needs}),
        "its name for people": (unit.display_name, found.display_name),
        "its start type": (True, found.start_type in ("delayed", "automatic")),
    }
    return [what for what, (wanted, there) in pairs.items() if wanted != there]


def remove(control: Control, plan: ServicePlan) -> list[str]:
    """Takes a stopped service out, and its event source; its account goes with it."""
    control.remove(plan.name)
    event_log.unregister(plan.name)
    return [f"{plan.name}: stopped and removed"]


def require_readable_python(program: Path, base: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Services cannot read what is inside a person's profile.

    Raises:
        ConfigurationError: the interpreter, or the one that its virtual environment stands on, is there.
    """
    users = PureWindowsPath(environ.get("PUBLIC", r"C:\Users\Public")).parent
    for path in (program, base):
        if PureWindowsPath(path).is_relative_to(users):
            raise ConfigurationError(
                f"{path} is inside a person's profile, which services cannot read; install Python for all users"
                r" (into C:\Program Files) and make the virtual environment with that one"
            )


def _ports(control: Control, name: str) -> set[int]:
    """What the service's process listens on; none when it does not run, or is not ours to see."""
    found = control.find(name)
    try:
        connections = psutil.Process(found.pid).net_connections("tcp") if found and found.pid else []
    except (psutil.Error, OSError):
        return set()
    return {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN and one.laddr}
