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

from messagebroker.db.address import Address
from messagebroker.errors import ConfigurationError

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


@contextmanager
def option_file(address: Address) -> Iterator[str]:
    """The first argument for a client program: a file of mode 600, gone afterwards, that holds address, user and password."""
    values = {"host": address.host, "port": str(address.port), "user": address.user, "password": address.password}
    # else `localhost` would mean a socket of their choice
    values |= {"socket": address.unix_socket} if address.unix_socket else {"protocol": "tcp"}
    lines = [f'{key}="{_escaped(value)}"' for key, value in (values | _encryption(address)).items()]
    with tempfile.TemporaryDirectory(prefix="messagebroker-") as folder:
        path = Path(folder) / "client.cnf"
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("[client]\n" + "\n".join(lines) + "\n")
        yield f"--defaults-file={path}"


def _encryption(address: Address) -> dict[str, str]:
    """As PyMySQL does it: TLS where the server has it, its certificate checked where a CA is named.

    `loose-` because MySQL's programs and MariaDB's know different ones, and warn of what they do not know.
    """
    if address.ssl_ca is None:
        return {
            "loose-ssl-verify-server-cert": "0",  # MariaDB's check by default since 11.4, and refuse what MySQL made for itself
            "loose-get-server-public-key": "1",  # how MySQL's send a password to a server without TLS
        }
    return {"ssl-ca": str(address.ssl_ca), "loose-ssl-verify-server-cert": "1", "loose-ssl-mode": "VERIFY_IDENTITY"}


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
