"""`python -m messagebroker.actors.worker_child NUMBER`: one process of a worker that has several.

Its settings are in the environment; it stops when its standard input ends.
"""

from __future__ import annotations

import sys

from messagebroker.actors.worker import work
from messagebroker.ops import logs
from messagebroker.ops.stopping import stop_event
from messagebroker.settings import load


def main() -> None:
    """Works until it is told to stop."""
    settings = load(role="worker")
    logs.configure(settings, "worker", console=False, instance=int(sys.argv[1]))
    work(settings, stop_event(watch_stdin=True))


if __name__ == "__main__":
    main()
