"""Whether processes are gone."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil


def lives(process: psutil.Process) -> bool:
    """False also for a zombie: in a container nobody may be there to collect orphans."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def survivors(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still live when all that time has passed."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if lives(process)]
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [process for process in left if lives(process)]
    return left
