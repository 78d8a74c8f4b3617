"""How many files and connections this process may have open."""

from __future__ import annotations

import os

RESERVE = 100
"""For all else: the database's and Redis' pools, logs, certificates that are being read."""


def fitting(number: int, *, reserve: int = RESERVE, windows: bool = os.name == "nt") -> int:
    """As many of that number as fit beside `reserve`; raises the limit of open files as far as this user may.

    Windows has no such limit.
    """
    if windows:
        return number
    import resource  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + reserve
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return number if soft == resource.RLIM_INFINITY else max(1, min(number, soft - reserve))
