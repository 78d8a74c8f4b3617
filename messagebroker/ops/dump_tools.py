"""The database server's own programs for dumps: finding them, and telling them the password without showing it to anybody."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from messagebroker.errors import ConfigurationError
from messagebroker.settings import Settings

_DUMPERS = ("mysqldump", "mariadb-dump")
_LOADERS = ("mysql", "mariadb")
_WHERE_ELSE = (Path("C:/Program Files/MySQL"), Path("C:/Program Files/MariaDB"))  # their installers leave PATH alone


def dumper() -> str:
    """The program that dumps a MySQL or MariaDB database.

    Raises:
        ConfigurationError: none is installed.
    """
    return _first(_DUMPERS, "dump")


def loader() -> str:
    """The program that reads a dump back.

    Raises:
        ConfigurationError: none is installed.
    """
    return _first(_LOADERS, "restore")


def _first(names: tuple[str, ...], purpose: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    for folder in _WHERE_ELSE:
        for name in names:
            for path in sorted(folder.glob(f"*/bin/{name}.exe"), reverse=True):
                return str(path)
    raise ConfigurationError(
        f"no program to {purpose} a MySQL database: neither {' nor '.join(names)} is on PATH; "
        "install the client of MySQL or MariaDB (Debian: apt install mariadb-client)"
    )


def version(program: str) -> str:
    """What the program says of itself, one line."""
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, encoding="utf-8", timeout=20, check=False)
    return re.sub(r"\s+", " ", answer.stdout.strip()) or f"exit status {answer.returncode}"


def database_name(settings: Settings) -> str:
    """The database that DATABASE_URL names."""
    return unquote(urlsplit(settings.database).path.lstrip("/"))


@contextmanager
def option_file(settings: Settings) -> Iterator[str]:
    """The first argument for a client program: a file of mode 600, gone afterwards, that holds address, user and password."""
    url = urlsplit(settings.database)
    values = {
        "host": url.hostname or "localhost",
        "port": str(url.port or 3306),
        "user": unquote(url.username or ""),
        "password": unquote(url.password or ""),
    }
    socket = dict(parse_qsl(url.query)).get("unix_socket")
    values |= {"socket": socket} if socket else {"protocol": "tcp"}  # else `localhost` would mean a socket of their choice
    lines = [f'{key}="{_escaped(value)}"' for key, value in values.items()]
    with tempfile.TemporaryDirectory(prefix="messagebroker-") as folder:
        path = Path(folder) / "client.cnf"
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("[client]\n" + "\n".join(lines) + "\n")
        yield f"--defaults-file={path}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
