from __future__ import annotations

import pytest
from support.fake_manager import FakeManager

from messagebroker.errors import Refused, Unavailable
from messagebroker.ops.services.verbs import Verbs
from messagebroker.roles import NAMES


def test_all_start_in_order_and_each_waits_for_the_one_before() -> None:
    manager = FakeManager()
    told: list[str] = []
    Verbs(manager, told.append).start()
    assert manager.calls == ["start main", "start proxy", "start scheduler", "start worker", "start portal"]
    assert told[0] == "main started, ready"


def test_nothing_after_a_role_that_does_not_become_ready_is_started() -> None:
    manager = FakeManager()
    manager.unready["main"] = "the database does not answer"
    with pytest.raises(Unavailable, match=r"main was started but is not ready .*the database does not answer; --force"):
        Verbs(manager).start()
    assert manager.calls == ["start main"]
    Verbs(manager).start(force=True)
    assert manager.calls[-1] == "start portal"


def test_a_role_is_not_started_without_what_it_needs() -> None:
    manager = FakeManager()
    with pytest.raises(Refused, match="worker needs scheduler, which does not run: add --with-dependencies"):
        Verbs(manager).start("worker")
    assert manager.calls == []


def test_with_dependencies_what_it_needs_is_started_first() -> None:
    manager = FakeManager()
    Verbs(manager).start("worker", with_dependencies=True)
    assert manager.calls == ["start scheduler", "start worker"]
    assert manager.given["worker"] == {"alone": False}


def test_what_it_needs_is_left_alone_when_it_runs() -> None:
    manager = FakeManager("scheduler")
    Verbs(manager).start("worker", with_dependencies=True)
    assert manager.calls == ["start worker"]


def test_with_force_it_starts_alone() -> None:
    manager = FakeManager()
    Verbs(manager).start("proxy", force=True)
    assert manager.calls == ["start proxy"]
    assert manager.given["proxy"] == {"alone": True}


def test_all_stop_in_the_reverse_order_each_with_its_time() -> None:
    manager = FakeManager(*NAMES)
    Verbs(manager).stop()
    assert manager.calls == ["stop portal", "stop worker", "stop scheduler", "stop proxy", "stop main"]
    assert manager.given["worker"] == {"seconds": 60, "force": False}
    assert manager.given["main"] == {"seconds": 15, "force": False}


def test_a_role_is_not_stopped_under_those_that_need_it() -> None:
    manager = FakeManager(*NAMES)
    with pytest.raises(Refused, match="proxy and portal need main and still run: add --with-dependencies to stop them first"):
        Verbs(manager).stop("main")
    assert manager.calls == []
    Verbs(manager).stop("main", with_dependencies=True)
    assert manager.calls == ["stop portal", "stop proxy", "stop main"]


def test_with_force_it_is_stopped_alone_where_that_can_be() -> None:
    manager = FakeManager(*NAMES)
    Verbs(manager).stop("main", force=True)
    assert manager.calls == ["stop main"]
    windows = FakeManager(*NAMES, can_stop_alone=False)
    Verbs(windows).stop("main", force=True)
    assert windows.calls == ["stop portal", "stop proxy", "stop main"]


def test_a_restart_of_all_is_one_after_another() -> None:
    manager = FakeManager(*NAMES)
    Verbs(manager).restart()
    assert manager.calls == ["restart main", "restart proxy", "restart scheduler", "restart worker", "restart portal"]


def test_a_restart_that_fails_leaves_the_others_as_they_are() -> None:
    manager = FakeManager(*NAMES)
    manager.unready["proxy"] = "no policy"
    with pytest.raises(Unavailable, match="proxy was restarted but is not ready"):
        Verbs(manager).restart()
    assert manager.calls == ["restart main", "restart proxy"]


def test_where_units_cannot_stop_alone_a_restart_takes_all_down_and_up() -> None:
    manager = FakeManager(*NAMES, can_stop_alone=False)
    Verbs(manager).restart()
    assert manager.calls == [f"stop {name}" for name in ("portal", "worker", "scheduler", "proxy", "main")] + [
        f"start {name}" for name in ("main", "proxy", "scheduler", "worker", "portal")
    ]


def test_a_restart_with_dependencies_is_the_one_of_the_runbook() -> None:
    manager = FakeManager("main", "proxy", "worker", "scheduler")
    Verbs(manager).restart("main", with_dependencies=True)
    assert manager.calls == ["stop proxy", "stop main", "start main", "start proxy"], "the portal did not run before"


def test_a_restart_alone_is_refused_only_where_it_cannot_be() -> None:
    manager = FakeManager(*NAMES)
    Verbs(manager).restart("main")
    assert manager.calls == ["restart main"]
    windows = FakeManager(*NAMES, can_stop_alone=False)
    with pytest.raises(Refused, match="cannot restart main while proxy and portal run: add --with-dependencies"):
        Verbs(windows).restart("main")
    Verbs(windows).restart("proxy")
    assert windows.calls == ["restart proxy"]


def test_status_says_of_each_that_runs_whether_it_is_ready() -> None:
    manager = FakeManager("main", "proxy")
    manager.unready["proxy"] = "redis: nobody answers"
    found = {state.role: state for state in Verbs(manager).status()}
    assert [found[name].detail for name in ("main", "proxy", "worker")] == ["ready", "not ready: redis: nobody answers", ""]
    assert [state.role for state in Verbs(manager).status("worker")] == ["worker"]
