"""How many connections this process can hold."""

from __future__ import annotations

import logging
import os

from messagebroker.ops.descriptors import fitting

log = logging.getLogger(__name__)

WINDOWS_SOCKETS = 480
"""select takes 512 there; the listeners and the alarm need some."""


def room_for(connections: int, *, windows: bool = os.name == "nt") -> int:
    """As many of that number as fit; raises the limit of open files as far as this user may."""
    room = min(connections, WINDOWS_SOCKETS) if windows else fitting(connections, windows=False)
    if room < connections:
        remedy = "Windows' select ends there, start more proxies" if windows else "raise its limit of open files (ulimit -n)"
        log.warning("MAX_CONNECTIONS is %d, but this process can hold only %d; %s", connections, room, remedy)
    return room
