"""The one place that knows signals: turns SIGINT, SIGTERM, SIGBREAK and a closed stdin into an Event."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType


def stop_event(*, watch_stdin: bool = False) -> threading.Event:
    """An Event that is set when the process should stop; a second signal ends it at once.

    `watch_stdin`: also stop when stdin ends, which is how a supervisor's death reaches its children on every system.
    Outside the main thread (Windows services) no handlers are installed: the service sets the Event itself.
    """
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        _install(stop)
    if watch_stdin:
        threading.Thread(target=_wait_for_end_of_stdin, args=(stop,), name="stdin-watch", daemon=True).start()
    return stop


def _install(stop: threading.Event) -> None:
    signalled = threading.Event()  # not `stop`: a supervisor closes stdin and the system signals everybody, in any order

    def handle(number: int, frame: FrameType | None) -> None:
        if signalled.is_set():
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        signalled.set()
        stop.set()

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, handle)


def _wait_for_end_of_stdin(stop: threading.Event) -> None:
    if sys.stdin is None:
        return
    descriptor = sys.stdin.fileno()
    try:
        while os.read(descriptor, 4096):  # not sys.stdin: a daemon thread holding its lock aborts the interpreter's end
            continue
    finally:
        stop.set()
