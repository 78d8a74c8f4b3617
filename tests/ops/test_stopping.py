"""How a process is told to stop, on every system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from messagebroker.ops.stopping import stop_event

WAITS = """
import signal, sys
{before}
from messagebroker.ops.stopping import stop_event
stop = stop_event(watch_stdin=True)
print("ready", flush=True)
stop.wait(20)
print("stopped" if stop.is_set() else "still here", flush=True)
{after}
"""


def waiting(before: str = "", after: str = "") -> subprocess.Popen[str]:
    code = WAITS.format(before=before, after=after)
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.skipif(os.name == "nt", reason="Windows delivers signals to whole consoles")
@pytest.mark.parametrize(
    ("number", "before"),
    [
        (signal.SIGTERM, ""),
        (signal.SIGINT, ""),
        (getattr(signal, "SIGUSR1", 0), "signal.SIGBREAK = signal.SIGUSR1"),  # where Windows has SIGBREAK
    ],
    ids=["SIGTERM", "SIGINT", "SIGBREAK"],
)
def test_each_signal_stops_in_order(number: int, before: str) -> None:
    process = waiting(before)
    process.send_signal(number)
    assert process.stdout
    assert process.stdout.readline() == "stopped\n"
    process.communicate(timeout=10)
    assert process.returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows delivers signals to whole consoles")
def test_a_second_signal_ends_what_hangs() -> None:
    process = waiting(after="import time; time.sleep(20)")
    process.send_signal(signal.SIGINT)
    assert process.stdout
    assert process.stdout.readline() == "stopped\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode != 0


def test_the_end_of_stdin_stops_too() -> None:
    process = waiting()
    assert process.communicate(timeout=10)[0] == "stopped\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows delivers signals to whole consoles")
def test_a_signal_beside_the_end_of_stdin_is_the_first_one() -> None:
    process = waiting(after="import time; time.sleep(1); print('in order', flush=True)")
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    assert process.stdout.readline() == "stopped\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "in order\n"
    assert process.wait(10) == 0
    process.stdout.close()


def test_a_service_thread_gets_an_event_and_no_handlers() -> None:
    before = signal.getsignal(signal.SIGTERM)
    made: list[threading.Event] = []
    thread = threading.Thread(target=lambda: made.append(stop_event()))
    thread.start()
    thread.join()
    assert not made[0].is_set()
    assert signal.getsignal(signal.SIGTERM) is before
