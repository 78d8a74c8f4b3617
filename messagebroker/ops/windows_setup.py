"""The steps that take a fresh Windows server to a running system; each looks first, so that all of it can be run again."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from messagebroker.errors import BrokerError, ConfigurationError
from messagebroker.ops import env_file, homes
from messagebroker.ops.private_files import write_secret
from messagebroker.settings import Settings

BACKUPS = r"C:\Backups\MessageBroker"
LISTEN = "0.0.0.0"  # nosec B104 # noqa: S104 - as the guide has it; the firewall has a rule for each port
OLDEST_PYTHON = (3, 11)

Tell = Callable[[str], None]

_HEAD = """\
# Settings of Message Broker for every role, NAME=value; docs/settings.md lists them all.
# Secrets are not kept here: what is written here as DATABASE_URL, REDIS_URL, REDIS_PASSWORD, JWT_SECRET or SMTP_PASSWORD
# is moved by `messagebroker setup` to the roles that may have it. Restart the roles afterwards.
"""


def defaults(root: Path, domain: str | None) -> dict[str, str]:
    """What the deployment guide's .env says, without its secrets."""
    return {
        "DATA_DIR": homes.main_home(root).name,
        "ENVIRONMENT": "production",
        "LOG_LEVEL": "INFO",
        "LOG_FILE_PATH": str(root / "logs"),
        "BACKUP_DIR": BACKUPS,
        "MAIN_SERVER_HOST": LISTEN,
        "PROXY_HOST": LISTEN,
        "PORTAL_HOST": LISTEN,
        **({"PRIMARY_DOMAIN": domain} if domain else {}),
    }


def write_settings(root: Path, values: Mapping[str, str]) -> list[str]:
    """ROOT/.env with those of `values` that it does not have yet; what an operator wrote stays."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / ".env"
    old = env_file.read(path)
    known = env_file.names(old)
    missing = {name: value for name, value in values.items() if name not in known}
    if not missing:
        return []
    write_secret(path, env_file.changed(old or _HEAD, missing).encode(), overwrite=True)
    return [f"{path}: {', '.join(missing)} written"]


def require_python(version: tuple[int, int] = sys.version_info[:2], bits: int = sys.maxsize.bit_length() + 1) -> None:
    """The interpreter that services will run with.

    Raises:
        ConfigurationError: it is too old, or a 32-bit one.
    """
    if version < OLDEST_PYTHON or bits < 64:
        raise ConfigurationError(
            f"this is Python {version[0]}.{version[1]} with {bits} bits; install Python 3.11 or newer, 64 bits, for all users,"
            " from python.org"
        )


def require_secret_settings(settings: Settings, ask: Callable[[], str] | None) -> dict[str, str]:
    """DATABASE_URL where it is not known yet, from a person.

    Raises:
        ConfigurationError: nobody can be asked.
    """
    if settings.database_url is not None:
        return {}
    if ask is None:
        raise ConfigurationError(
            "DATABASE_URL is missing: set it in this PowerShell before, as in"
            " $env:DATABASE_URL = 'mysql+pymysql://systemuser:PASSWORD@localhost:3306/message_system'"
        )
    return {"DATABASE_URL": ask()}


class Steps:
    """Commands of ours, one after another; the first that fails ends it.

    Args:
        run: carries one out and shows what it says; its exit code.
        tell: gets the name of each step.
    """

    def __init__(self, run: Callable[[list[str]], int], tell: Tell) -> None:
        self._run = run
        self._tell = tell

    def take(self, name: str, *words: str) -> None:
        """One step.

        Raises:
            BrokerError: it failed; what it said is above.
        """
        self._tell(f"== {name}")
        code = self._run(list(words))
        if code:
            raise BrokerError(f"{name}: `messagebroker {' '.join(words)}` ended with {code}; correct that and run this again")


def older_tasks(folder: Path | None = None) -> list[str]:
    """What an older system of the same name left that would do its work beside ours: its daily backup task.

    Args:
        folder: where Windows keeps a file for each scheduled task; for tests.
    """
    folder = folder or Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "Tasks"
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return [
        f"the scheduled task \\{name} is of an older system: main makes the backup at 02:00 itself; remove it with"
        f' schtasks.exe /Delete /TN "\\{name}"'
        for name in map(str, names)
        if "messagebroker" in re.sub("[ _-]", "", name).lower() and "backup" in name.lower()
    ]
