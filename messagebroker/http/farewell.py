"""The times of a server's stop."""

from __future__ import annotations

import time

from messagebroker.roles import BY_NAME

DEFAULT_STOP_SECONDS = 15.0  # of a server that is no role
STOP_MARGIN = 3.0  # of a role's time, for what else the process has to end
GRACE_SECONDS = 1.0


class Farewell:
    """One stop, from now on.

    For a moment idle connections stay, and a request that is on its way on one of them is answered, that answer being
    its last; then they are hung up. What is in hand may take the rest of the role's time.
    """

    def __init__(self, role: str) -> None:
        seconds = BY_NAME[role].stop_seconds if role in BY_NAME else DEFAULT_STOP_SECONDS
        began = time.monotonic()
        self._deadline = began + seconds - STOP_MARGIN
        self._grace = min(began + GRACE_SECONDS, self._deadline)

    def is_over(self) -> bool:
        """True when nothing is waited for any more."""
        return time.monotonic() >= self._deadline

    def may_hang_up(self) -> bool:
        """True when whoever is idle has had the time to hear of it."""
        return time.monotonic() >= self._grace
