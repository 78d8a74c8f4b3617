"""`python -m messagebroker.ops.keeper PROGRAM ARGUMENT…`: runs a foreign program for as long as stdin is open.

Our own roles stop when their stdin ends; a Redis server does not look at it. This small process stands between,
so that no server outlives a supervisor that was killed, on any system.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

STOP_SECONDS = 20.0


def main(command: list[str]) -> int:
    """Runs `command`; ends it, gracefully first, when stdin ends."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_stdin, args=(child,), daemon=True).start()
    return child.wait()


def _end_with_stdin(child: subprocess.Popen[bytes]) -> None:
    descriptor = sys.stdin.fileno()
    try:
        while os.read(descriptor, 4096):  # not sys.stdin: a daemon thread holding its lock aborts the interpreter's end
            continue
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
