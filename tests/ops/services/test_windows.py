"""Windows services through a service manager that only keeps what it is told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.fake_control import FakeControl, role_of

from messagebroker.errors import ConfigurationError, NotFound, Unavailable
from messagebroker.ops import event_log, homes
from messagebroker.ops.services import windows_install
from messagebroker.ops.services.plan import PLAN_OF, PLANS
from messagebroker.ops.services.programs import Answer
from messagebroker.ops.services.runs import Runs
from messagebroker.ops.services.windows import WindowsServices

PYTHON = Path("/srv/python/python.exe")
WORKER = PLAN_OF["worker"].name


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> FakeControl:
    monkeypatch.setattr(event_log, "register", lambda source: None)
    monkeypatch.setattr(event_log, "unregister", lambda source: None)
    return FakeControl()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for home in homes.homes(tmp_path):
        home.path.mkdir()
    text = "DATABASE_URL=mysql://u:p@localhost/message_system\nREDIS_HOST=localhost\nLOG_FILE_PATH=logs\nBACKUP_DIR=backups\n"
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def install(control: FakeControl, root: Path, account: str | None = None) -> list[str]:
    return windows_install.install(
        root, control, account=account, hand_out=lambda settings, root: [], lock=lambda root: [], python=PYTHON
    )


@pytest.fixture
def services(control: FakeControl, root: Path) -> WindowsServices:
    install(control, root)
    return WindowsServices(root, control, sleep=lambda seconds: None)


def test_installing_makes_every_service_once(control: FakeControl, root: Path) -> None:
    said = install(control, root)
    assert [name for verb, name in control.calls if verb == "create"] == [plan.name for plan in PLANS]
    assert control.services[WORKER].needs == ("MySQL84", "Memurai", "MessageBrokerScheduler")
    assert sum("made, runs as NT SERVICE" in line for line in said) == len(PLANS)
    assert any("messagebroker.cmd" in line for line in said)
    assert install(control, root) == []


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"image": "C:\\other.exe"}, "its command line"),
        ({"account": "LocalSystem"}, "its account"),
        ({"needs": ()}, "what it depends on"),
        ({"start_type": "disabled"}, "its start type"),
        ({"display_name": "?"}, "its name for people"),
    ],
)
def test_what_somebody_changed_is_mended(control: FakeControl, root: Path, spoilt: dict[str, object], said: str) -> None:
    install(control, root)
    control.set(WORKER, **spoilt)
    assert install(control, root) == [f"{WORKER}: {said} corrected"]


def test_the_password_of_an_account_comes_from_the_environment(
    control: FakeControl, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(windows_install.PASSWORD, "k3Jd82hs")
    monkeypatch.setattr(windows_install.windows_accounts, "allow_logon_as_service", lambda account: None)
    said = install(control, root, account=r".\broker")
    assert control.passwords == {"k3Jd82hs"}
    assert control.services[WORKER].account == r".\broker"
    assert "k3Jd82hs" not in "".join(said)


def test_without_an_installation_nothing_is_made(control: FakeControl, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no installation"):
        install(control, tmp_path)
    assert control.calls == []


def test_a_python_in_a_profile_is_refused() -> None:
    base = Path(r"C:\Users\ada\AppData\Local\Programs\Python\Python311")
    with pytest.raises(ConfigurationError, match="for all users"):
        windows_install.require_readable_python(Path(r"C:\MessageBroker\python.exe"), base, {})
    windows_install.require_readable_python(Path(r"C:\MessageBroker\python.exe"), Path(r"C:\Program Files\Python311"), {})


def test_states(services: WindowsServices, control: FakeControl, root: Path) -> None:
    control.runs(WORKER)
    control.set(PLAN_OF["proxy"].name, exit_code=1066)
    del control.services[PLAN_OF["portal"].name]
    Runs(root / "worker").began()
    Runs(root / "worker").began()
    states = {state.role: state for state in services.states()}
    assert [state.state for state in states.values()] == ["stopped", "failed", "running", "stopped", "missing"]
    assert (states["worker"].restarts, states["worker"].start_type) == (1, "delayed")
    assert states["worker"].since is not None
    assert "proxy.log" in states["proxy"].detail


def test_a_service_whose_process_is_gone_has_failed(services: WindowsServices, control: FakeControl) -> None:
    control.runs(WORKER)
    control.set(WORKER, pid=2**22 + 1)
    worker = next(state for state in services.states() if state.role == "worker")
    assert (worker.state, worker.detail) == ("failed", "its process is gone")
    services.stop("worker", seconds=1)
    assert ("stop", WORKER) not in control.calls


def test_a_service_that_ends_as_it_starts_is_an_error(services: WindowsServices, control: FakeControl) -> None:
    control.broken.add(WORKER)
    with pytest.raises(Unavailable, match=r"did not start, it is stopped; see .*worker\.log and the event log"):
        services.start("worker")


def test_what_does_not_stop_is_ended_only_by_force(
    services: WindowsServices, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []

    def end(pid: int) -> None:
        ended.append(pid)
        control.set(WORKER, state="stopped", pid=0)

    monkeypatch.setattr("messagebroker.ops.services.windows._end", end)
    monkeypatch.setattr("messagebroker.ops.services.windows.MARGIN_SECONDS", 0.01)
    control.runs(WORKER)
    control.slow.add(WORKER)
    with pytest.raises(Unavailable, match="--force"):
        services.stop("worker", seconds=0)
    assert ended == []
    services.stop("worker", seconds=0, force=True)
    assert ended == [os.getpid()]


def test_what_is_not_installed_says_how_to_install_it(services: WindowsServices, control: FakeControl) -> None:
    control.services.clear()
    for do in (lambda: services.start("proxy"), lambda: services.stop("proxy", seconds=1), lambda: services.readiness("proxy")):
        with pytest.raises(NotFound, match="services install"):
            do()


def test_readiness_is_asked_in_the_roles_home(control: FakeControl, root: Path) -> None:
    install(control, root)
    asked: list[list[str]] = []

    def run(command: Sequence[str], *, seconds: float = 0, check: bool = True) -> Answer:
        asked.append(list(command[1:]))
        return Answer(1, "", "error: redis: connection refused\n")

    services = WindowsServices(root, control, run)
    assert services.readiness("proxy", wait=5) == "error: redis: connection refused"
    assert asked == [["-I", "-m", "messagebroker", "health", "proxy", "--wait", "5"]]


def test_uninstalling_stops_in_order_and_removes_all(services: WindowsServices, control: FakeControl) -> None:
    for plan in PLANS:
        control.runs(plan.name)
    control.calls.clear()
    assert len(services.uninstall()) == len(PLANS)
    assert control.services == {}
    assert [role_of(name) for verb, name in control.calls if verb == "remove"] == [
        "portal", "worker", "scheduler", "proxy", "main",
    ]  # fmt: skip
    assert services.uninstall() == []


def test_an_account_that_an_operator_gave_stays(control: FakeControl, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_install.windows_accounts, "allow_logon_as_service", lambda account: None)
    install(control, root, account="broker")
    assert {found.account for found in control.services.values()} == {r".\broker"}
    assert install(control, root) == []
    assert {found.account for found in control.services.values()} == {r".\broker"}
    install(control, root, account=r"DOMAIN\other")
    assert {found.account for found in control.services.values()} == {r"DOMAIN\other"}
