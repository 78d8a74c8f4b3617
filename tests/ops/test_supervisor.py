from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.processes import survivors

from messagebroker.errors import Unavailable
from messagebroker.ops.supervisor import Child, Supervisor

pytestmark = pytest.mark.clocked

OBEDIENT = "import sys; print('up', flush=True); sys.stdin.read(); print('down', flush=True)"
STUBBORN = "import time; print('up', flush=True); time.sleep(60)"


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def child(folder: Path, name: str, program: str = OBEDIENT, **fields: object) -> Child:
    made = Child(
        name=name,
        command=[sys.executable, "-c", program],
        environment=os.environ,
        output=folder / f"{name}.txt",
        stop_seconds=5,
    )
    made.is_ready = lambda pid: None if "up" in made.last_words() else "not up yet"
    for field, value in fields.items():
        setattr(made, field, value)
    return made


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_starts_each_when_what_it_needs_is_ready_and_stops_in_reverse(tmp_path: Path, stop: threading.Event) -> None:
    diary = tmp_path / "diary"
    program = f"""
import sys
diary, name = open({str(diary)!r}, "a"), sys.argv[1]
print("+" + name, file=diary, flush=True)
print("up", flush=True)
sys.stdin.read()
print("-" + name, file=diary, flush=True)
"""
    children = [child(tmp_path, name, program) for name in ("first", "second", "third")]
    for one in children:
        one.command.append(one.name)
    children[1].needs = ("first", "a server of the operator's")
    children[2].needs = ("second",)
    supervisor = Supervisor(children, stop)
    supervisor.start(10)
    assert all(one.ready for one in children)
    assert supervisor.close() == []
    assert diary.read_text().split() == ["+first", "+second", "+third", "-third", "-second", "-first"]


def test_a_child_that_ends_while_starting_is_an_error_with_its_last_words(tmp_path: Path, stop: threading.Event) -> None:
    supervisor = Supervisor([child(tmp_path, "broken", "import sys; sys.exit('PROXY_PORT: is wrong')")], stop)
    with pytest.raises(Unavailable, match=r"broken ended while starting \(exit code 1\):\nPROXY_PORT: is wrong"):
        supervisor.start(10)
    supervisor.close()


def test_a_child_that_is_not_ready_in_time_is_an_error(tmp_path: Path, stop: threading.Event) -> None:
    supervisor = Supervisor([child(tmp_path, "slow", is_ready=lambda pid: "still reading")], stop)
    with pytest.raises(Unavailable, match="slow is not ready: still reading"):
        supervisor.start(0.3)
    supervisor.close()


def test_what_is_killed_starts_again_and_says_so(
    tmp_path: Path, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messagebroker.ops.supervisor.FIRST_DELAY", 0.1)
    told: list[str] = []
    one = child(tmp_path, "victim")
    supervisor = Supervisor([one], stop, told.append)
    supervisor.start(10)
    watching = threading.Thread(target=supervisor.watch)
    watching.start()
    assert one.process
    first = one.process
    first.kill()
    wait_for(lambda: one.process is not first and one.runs)
    assert "victim ended (exit code" in told[0]
    stop.set()
    watching.join(5)
    assert supervisor.close() == []
    assert not one.runs


def test_each_fall_waits_longer_up_to_a_limit(tmp_path: Path, stop: threading.Event) -> None:
    one = child(tmp_path, "broken", "raise SystemExit(3)")
    supervisor = Supervisor([one], stop)
    delays = []
    for _ in range(7):
        supervisor._spawn(one)
        assert one.process
        one.process.wait(10)
        delays.append(supervisor._fall(one))
    assert delays == [1, 2, 4, 8, 16, 30, 30]
    one.started_at -= 61
    assert supervisor._fall(one) == 1


def test_what_does_not_stop_is_killed_and_named(tmp_path: Path, stop: threading.Event) -> None:
    one = child(tmp_path, "stubborn", STUBBORN, stop_seconds=0.3)
    supervisor = Supervisor([one], stop)
    supervisor.start(10)
    assert supervisor.close() == ["stubborn"]
    assert not one.runs


def test_several_that_do_not_stop_share_one_deadline(tmp_path: Path, stop: threading.Event) -> None:
    """A worker's processes: each for itself could take as long as the whole role may."""
    slow = "import sys, time; print('up', flush=True); sys.stdin.read(); time.sleep(0.7); print('down', flush=True)"
    children = [child(tmp_path, f"stubborn-{number}", STUBBORN) for number in range(3)]
    children[1:1] = [child(tmp_path, "slow-1", slow), child(tmp_path, "slow-2", slow)]
    supervisor = Supervisor(children, stop)
    supervisor.start(10)
    began = time.monotonic()
    assert supervisor.close_together(1.5) == ["stubborn-0", "stubborn-1", "stubborn-2"]
    assert 1.4 < time.monotonic() - began < 3
    assert not any(one.runs for one in children)
    assert all("down" in one.last_words() for one in children if one.name.startswith("slow"))


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    program = f"""
import sys, threading, os
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from messagebroker.ops.supervisor import Child, Supervisor
folder = Path({str(tmp_path)!r})
commands = {{
    "role": [sys.executable, "-c", "import sys; sys.stdin.read()"],
    "server": [sys.executable, "-m", "messagebroker.ops.keeper", sys.executable, "-c", "import time; time.sleep(60)"],
}}
children = [Child(name=n, command=c, environment=os.environ, output=folder / n, stop_seconds=5) for n, c in commands.items()]
supervisor = Supervisor(children, threading.Event())
supervisor.start(10)
Path(folder / "ready").touch()
supervisor.watch()
"""
    with psutil.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL) as process:
        wait_for((tmp_path / "ready").exists)
        wait_for(lambda: len(process.children(recursive=True)) == 3)  # a role, a keeper and its server
        family = process.children(recursive=True)
        process.kill()
    assert not survivors(family, 10)
