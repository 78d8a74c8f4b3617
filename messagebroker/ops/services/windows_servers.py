"""Under which name MySQL and Redis run as services of this machine: installers differ, and operators rename them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import PureWindowsPath
from urllib.parse import urlsplit

from messagebroker.ops.services.windows_units import words
from messagebroker.settings import Settings

PROGRAMS = {
    "mysql": ("mysqld.exe", "mysqld-nt.exe", "mariadbd.exe"),
    "redis": ("memurai.exe", "memurai-services.exe", "redis-server.exe", "garnetserver.exe", "valkey-server.exe"),
}
"""Server -> programs that a service of it runs."""

_HERE = re.compile(r"localhost|127(\.\d+){3}|::1|\[::1\]|\.?", re.I)


def local_servers(settings: Settings, images: Mapping[str, str], ports: Callable[[str], Collection[int]]) -> dict[str, str]:
    """`mysql` and `redis` -> the service to wait for; none where the settings name another machine or no service fits.

    Args:
        images: service -> its command line.
        ports: service -> what its process listens on now, which decides between several of a kind.
    """
    found = {}
    for server, (host, port) in addresses(settings).items():
        if not _HERE.fullmatch(host):
            continue
        fitting = sorted(name for name, image in images.items() if program(image) in PROGRAMS[server])
        on_port = [name for name in fitting if port in ports(name)]
        if chosen := (on_port or fitting)[:1]:
            found[server] = chosen[0]
    return found


def addresses(settings: Settings) -> dict[str, tuple[str, int]]:
    """Where the settings say that the servers are."""
    redis = urlsplit(settings.redis)
    found = {"redis": (redis.hostname or "localhost", redis.port or 6379)}
    if not settings.is_sqlite:
        database = urlsplit(settings.database)
        found["mysql"] = (database.hostname or "localhost", database.port or 3306)
    return found


def program(image: str) -> str:
    """The file name of a command line's program, also of one with blanks that nobody quoted."""
    found = re.match(r'\s*"([^"]+)"|\s*(.+?\.exe)\b', image, re.I)
    path = (found[1] or found[2]) if found else (words(image) or [""])[0]
    return PureWindowsPath(path).name.lower()
