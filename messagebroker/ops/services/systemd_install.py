"""Making and removing the systemd units, the accounts they run as, and those accounts' rights."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from messagebroker.errors import ConfigurationError, Refused
from messagebroker.ops import homes, old_files, old_names
from messagebroker.ops.services.plan import PLANS
from messagebroker.ops.services.programs import Run
from messagebroker.ops.services.systemd_units import TARGET, Place, accounts, place, units
from messagebroker.settings import Settings, load

UNITS = Path("/etc/systemd/system")
ACCOUNTS = Path("/etc/sysusers.d/messagebroker.conf")
RUNNING = Path("/run/systemd/system")
"""Is there where systemd is the system's first process."""

RELEASES = Path("/opt/messagebroker/releases")
CURRENT = Path("/opt/messagebroker/current")
"""The link to the release in use, where `services upgrade` keeps several."""

HIDDEN_FROM_SERVICES = (Path("/root"), Path("/home"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # nosec B108 # noqa: S108 - not written
STOP_SECONDS = 60.0 + sum(plan.stop_seconds for plan in PLANS)


def install(root: Path, run: Run, *, folder: Path = UNITS, accounts_file: Path = ACCOUNTS) -> list[str]:
    """Accounts, homes and units as they have to be; a sentence for each change."""
    if not RUNNING.is_dir():
        raise Refused("systemd does not run this machine; see docs/operations.md for containers and for `messagebroker up`")
    if not (root / ".env").exists():
        raise ConfigurationError(f"{root} holds no installation; `messagebroker setup --root {root}` makes one")
    settings = load(role="main")
    here = place(settings, root, program(), _version(run))
    changes = _accounts(run, accounts_file)
    changes += _homes(settings, root)
    changes += _units(here, run, folder)
    return changes + old_files.write(root, here.program.with_name("python"), old_names.LINUX)


def uninstall(run: Run, *, folder: Path = UNITS) -> list[str]:
    """Stops the roles and removes the units; accounts stay, as files belong to them."""
    names = [TARGET, *(f"{plan.unit}.service" for plan in PLANS)]
    present = [name for name in names if (folder / name).exists()]
    if not present:
        return []
    run(["systemctl", "stop", *present], seconds=STOP_SECONDS)
    run(["systemctl", "disable", *present])
    for name in present:
        (folder / name).unlink()
    run(["systemctl", "daemon-reload"])
    run(["systemctl", "reset-failed", *present], check=False)
    return [f"{folder / name}: stopped and removed" for name in present]


def program() -> Path:
    """The command that the units start: of the release in use when this is one of them, else of this very environment.

    Raises:
        ConfigurationError: services could not see it.
    """
    here = Path(sys.prefix).absolute()
    found = (CURRENT if here.parent == RELEASES or here == CURRENT else here) / "bin" / "messagebroker"
    if not found.exists():
        raise ConfigurationError(
            f"there is no {found}; install the package into a virtual environment and call that one's program"
        )
    for hidden in HIDDEN_FROM_SERVICES:
        if found.is_relative_to(hidden) or found.resolve().is_relative_to(hidden):
            raise ConfigurationError(
                f"{found} is below {hidden}, which services do not see; install into {RELEASES} or another folder of the system"
            )
    return found


def _version(run: Run) -> int:
    said = re.search(r"systemd (\d+)", run(["systemctl", "--version"]).out)
    return int(said[1]) if said else 0


def _accounts(run: Run, file: Path) -> list[str]:
    changes = _written(file, accounts())
    run(["systemd-sysusers", str(file)])  # makes what is missing, whoever removed it
    return changes


def _homes(settings: Settings, root: Path) -> list[str]:
    """Every role's folder and logs belong to its account now."""
    for path in (settings.log_file_path, settings.backup_dir):
        if path is not None:
            settings.path(path).mkdir(parents=True, exist_ok=True, mode=0o700)
    return [str(change) for change in homes.hand_out(settings, root)]


def _units(here: Place, run: Run, folder: Path) -> list[str]:
    changes = [change for name, text in units(here).items() for change in _written(folder / name, text)]
    if changes:
        run(["systemctl", "daemon-reload"])
    names = [f"{plan.unit}.service" for plan in PLANS]
    if set(run(["systemctl", "is-enabled", TARGET, *names], check=False).out.split()) != {"enabled"}:
        run(["systemctl", "enable", TARGET, *names])
        changes.append("the roles start with the machine")
    return changes


def _written(path: Path, text: str) -> list[str]:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
    return [f"{path}: written"]
