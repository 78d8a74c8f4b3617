"""How many connections this process can hold."""

from __future__ import annotations

import logging
import os

log = logging.getLogger(__name__)

RESERVE = 100
"""Descriptors for all else: the database's and Redis' pools, logs, certificates that are being read."""

WINDOWS_SOCKETS = 480
"""select takes 512 there; the listeners and the alarm need some."""


def room_for(connections: int, *, windows: bool = os.name == "nt") -> int:
    """As many of that number as fit; raises the limit of open files as far as this user may."""
    fitting = min(connections, WINDOWS_SOCKETS) if windows else _under_the_file_limit(connections)
    if fitting < connections:
        remedy = "Windows' select ends there, start more proxies" if windows else "raise its limit of open files (ulimit -n)"
        log.warning("MAX_CONNECTIONS is %d, but this process can hold only %d; %s", connections, fitting, remedy)
    return fitting


def _under_the_file_limit(connections: int) -> int:
    import resource  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else max(1, min(connections, soft - RESERVE))
