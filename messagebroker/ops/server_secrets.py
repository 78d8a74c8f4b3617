"""Passwords of a MySQL and a Redis server that are set up together with the roles, as containers are.

Every server has a folder that it alone mounts; what the roles need of it goes into main's `.env`, from where
`messagebroker setup` hands it out. What is there is kept, so that the servers' data stays readable.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from dotenv import dotenv_values

from messagebroker.errors import ConfigurationError
from messagebroker.ops import env_file
from messagebroker.ops.private_files import write_secret

DATABASE, DATABASE_USER = "message_system", "systemuser"
REDIS_USER, HEALTH_USER = "messagebroker", "health"
SERVER_GROUP = 999
"""Of the `mysql` and `redis` accounts in the servers' official images."""

REDIS_RULES = (
    "resetchannels ~messagebroker:* ~message_queue &messagebroker:* +@all -@admin -@dangerous"
    " -script +script|load +script|exists +info +config|get +client|setname"
)
"""What the roles may do: work with their own keys, see the memory and whether writes reach the disk.

`@dangerous` has FLUSHALL, FLUSHDB, KEYS, SHUTDOWN, DEBUG and what else empties or stops a server.
"""


@dataclass(frozen=True)
class Address:
    """Where a server is for the roles."""

    host: str
    port: int


class MySQLSecrets:
    """`root-password` and `password`, as the server's image wants them: one password a file."""

    def __init__(self, folder: Path, group: int = SERVER_GROUP) -> None:
        self.folder, self.group = folder, group

    def make(self, main_env: Path, server: Address) -> list[Path]:
        """What was missing, in the server's folder and in main's `.env`; the paths that were written."""
        known = _password_in(main_env, "DATABASE_URL", DATABASE_USER)
        files = _Folder(self.folder, self.group)
        password = files.kept("password", known)
        files.kept("root-password")
        url = f"mysql+pymysql://{DATABASE_USER}:{quote(password, safe='')}@{server.host}:{server.port}/{DATABASE}"
        return files.written + _set(main_env, "DATABASE_URL", url)


class RedisSecrets:
    """`users.acl`, with hashes only, and `health-password` for the server's own health check."""

    def __init__(self, folder: Path, group: int = SERVER_GROUP) -> None:
        self.folder, self.group = folder, group

    def make(self, main_env: Path, server: Address) -> list[Path]:
        """What was missing, in the server's folder and in main's `.env`; the paths that were written."""
        password = _password_in(main_env, "REDIS_URL", REDIS_USER) or _new_password()
        files = _Folder(self.folder, self.group)
        health = files.kept("health-password")
        files.put("users.acl", access_list(password, health))
        url = f"redis://{REDIS_USER}:{quote(password, safe='')}@{server.host}:{server.port}/0"
        return files.written + _set(main_env, "REDIS_URL", url)


def grafana_password(folder: Path) -> list[Path]:
    """`admin-password` for a Grafana that runs under our own account; the paths that were written."""
    files = _Folder(folder, folder.stat().st_gid)
    files.kept("admin-password")
    return files.written


def access_list(password: str, health_password: str) -> str:
    """Redis' users: the roles' one, and one that may only ask whether the server is there. There is no other way in.

    Nobody can log in as `default`; yet it must be allowed everything, because Redis takes its rights when it reads its
    append-only file: without them it leaves out every transaction, and the messages in it, with no more than a line in its log.
    """
    return (
        "user default off ~* &* +@all\n"
        f"user {REDIS_USER} on #{_sha256(password)} {REDIS_RULES}\n"
        f"user {HEALTH_USER} on #{_sha256(health_password)} -@all +ping\n"
    )


class _Folder:
    """A server's folder: its group may read, nobody may write but we."""

    def __init__(self, folder: Path, group: int) -> None:
        self.folder, self.group = folder, group
        self.written: list[Path] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._hand_over(folder, 0o750)

    def kept(self, name: str, known: str | None = None) -> str:
        """The secret in this file; a lost one is `known` from elsewhere, or made."""
        path = self.folder / name
        if path.exists():
            self._hand_over(path, 0o440)
            return path.read_text(encoding="utf-8").strip()
        secret = known or _new_password()
        self.put(name, secret)
        return secret

    def put(self, name: str, text: str) -> None:
        """The file with exactly this text and the rights it needs."""
        path = self.folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_secret(path, text.encode(), overwrite=True)
            self.written.append(path)
        self._hand_over(path, 0o440)

    def _hand_over(self, path: Path, mode: int) -> None:
        if os.name != "posix":
            return
        try:
            if path.stat().st_gid != self.group:
                os.chown(path, -1, self.group)
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be given to the group {self.group} ({error.strerror}); run this as a member of that group"
            ) from error
        path.chmod(mode)


def _new_password() -> str:
    return secrets.token_urlsafe(32)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _password_in(main_env: Path, name: str, user: str) -> str | None:
    """The password of a URL that main knows already.

    Raises:
        ConfigurationError: the URL is somebody else's, and would be overwritten.
    """
    value = dotenv_values(main_env, interpolate=False).get(name)
    if not value:
        return None
    url = urlsplit(value)
    if unquote(url.username or "") != user or not url.password:
        raise ConfigurationError(
            f"{name} in {main_env} names a server of your own; take that server out of the Compose file, or this line out"
        )
    return unquote(url.password)


def _set(main_env: Path, name: str, value: str) -> list[Path]:
    old = env_file.read(main_env)
    new = env_file.changed(old, {name: value})
    if new == old:
        return []
    write_secret(main_env, new.encode(), overwrite=True)
    return [main_env]
