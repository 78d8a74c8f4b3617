from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from messagebroker.actors import worker_family
from messagebroker.ops.supervisor import Child, Supervisor
from messagebroker.roles import BY_NAME

pytestmark = pytest.mark.clocked


def test_hung_processes_together_take_no_longer_than_the_role_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BY_NAME["worker"].stop_seconds > worker_family._STOP_SECONDS
    monkeypatch.setattr(worker_family, "_STOP_SECONDS", 0.5)
    hung = [
        Child(
            name=f"worker-{number}",
            command=[sys.executable, "-c", "import time; time.sleep(60)"],
            environment=os.environ,
            output=tmp_path / f"{number}.out",
            stop_seconds=2.0,
        )
        for number in range(3)
    ]
    supervisor = Supervisor(hung, threading.Event())
    supervisor.start(10)
    began = time.monotonic()
    worker_family._close(supervisor)
    assert time.monotonic() - began < 1.5
    assert not any(child.runs for child in hung)


def test_it_knows_that_a_child_waits_for_the_database(tmp_path: Path) -> None:
    waits = Child(
        name="worker-1",
        command=[
            sys.executable,
            "-c",
            "import sys; from messagebroker.actors.waits import WAITS\nWAITS.note('full'); sys.stdin.read()",
        ],
        environment={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        output=tmp_path / "worker-1.out",
        stop_seconds=2.0,
    )
    supervisor = Supervisor([waits], threading.Event())
    assert worker_family._waits(tmp_path, [waits]) is None
    supervisor.start(10)
    deadline = time.monotonic() + 20
    while worker_family._waits(tmp_path, [waits]) is None:
        assert time.monotonic() < deadline, waits.output.read_text()
        time.sleep(0.05)
    supervisor.close_together(5)
    assert worker_family._waits(tmp_path, [waits]) is None, "a child that is gone waits for nothing"
