"""The runner of the tiers: what turns a tier red."""

from __future__ import annotations

import importlib.util
import threading
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import pytest
from support import tiers
from support.machine import require_tool, tool
from support.tiers import tried_again


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_tiers_under_test", Path(__file__).parent / "run_tiers.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BUDGETS", {"crash": {"about": "", "seconds": 10, "rounds": 50}})
    monkeypatch.delenv("CI", raising=False)
    return module


def judged(runner: ModuleType, *, code: int = 0, **fields: object) -> list[str]:
    outcome = runner.Outcome("crash", **{"seconds": 5.0, "tests": 3, "counted": {"rounds": 50}, **fields})
    runner.judge(outcome, code, 10.0)
    return list(outcome.problems)


def test_a_green_tier_has_no_problem(runner: ModuleType) -> None:
    assert judged(runner) == []


def test_what_turns_a_tier_red(runner: ModuleType) -> None:
    assert judged(runner, code=1) == ["pytest ended with 1"]
    assert judged(runner, tests=0) == ["no test ran"]
    assert judged(runner, skipped=1)[0].startswith("1 skipped")
    assert judged(runner, seconds=11.0) == ["took 11 s, its budget is 10 s"]
    assert judged(runner, counted={"rounds": 49}) == ["49 rounds, its floor is 50"]
    assert judged(runner, counted={}) == ["0 rounds, its floor is 50"]


def test_a_tier_by_hand_runs_when_it_is_named(
    runner: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    budgets = {"crash": {"about": "", "seconds": 1}, "moon": {"about": "", "seconds": 1, "by_hand": "needs a rocket"}}
    ran: list[str] = []
    monkeypatch.setattr(runner, "BUDGETS", budgets)
    monkeypatch.setattr(runner, "run", lambda tier: ran.append(tier) or runner.Outcome(tier))
    assert runner.main([]) == 0
    assert ran == ["crash"]
    assert "needs a rocket" in capsys.readouterr().out
    assert runner.main(["moon"]) == 0
    assert ran == ["crash", "moon"]


def test_the_report_of_pytest_is_counted(runner: ModuleType, tmp_path: Path) -> None:
    junit = tmp_path / "crash.xml"
    junit.write_text(
        '<testsuites><testsuite><testcase name="a"><properties><property name="rounds" value="20"/></properties></testcase>'
        '<testcase name="b"><properties><property name="rounds" value="30"/></properties><failure/></testcase>'
        '<testcase name="c"><skipped/></testcase></testsuite></testsuites>',
        encoding="utf-8",
    )
    outcome = runner.Outcome("crash")
    runner.read(junit, outcome)
    assert (outcome.tests, outcome.failed, outcome.skipped, outcome.passed) == (3, 1, 1, 1)
    assert outcome.counted == {"rounds": 50}


def skipped_with(runner: ModuleType, folder: Path, *reasons: str) -> Any:
    skipped = '<testcase name="{}"><skipped type="pytest.skip" message="{}"/></testcase>'
    cases = "".join(skipped.format(*numbered) for numbered in enumerate(reasons))
    junit = folder / "crash.xml"
    junit.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>", encoding="utf-8")
    outcome = runner.Outcome("crash", seconds=5.0, counted={"rounds": 50})
    runner.read(junit, outcome)
    runner.judge(outcome, 0, 10.0)
    return outcome


def reason_of_a_missing_tool(monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    monkeypatch.setenv("MESSAGEBROKER_TOOLS", str(folder))
    with pytest.raises(pytest.skip.Exception) as caught:
        require_tool("container-engine")
    return str(caught.value)


def test_what_a_machine_cannot_have_is_reported_and_fails_only_in_ci(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = reason_of_a_missing_tool(monkeypatch, tmp_path)
    outcome = skipped_with(runner, tmp_path, reason, reason)
    assert outcome.problems == []
    runner.report([outcome], 5.0)
    assert f"NOT RUN in tier crash: 2 tests, because {reason}" in capsys.readouterr().out
    assert skipped_with(runner, tmp_path, reason, "no time today").problems[0].startswith("1 skipped")
    monkeypatch.setenv("CI", "true")
    assert skipped_with(runner, tmp_path, reason, reason).problems[0].startswith("2 skipped")


def test_a_tool_is_taken_from_the_folder_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESSAGEBROKER_TOOLS", raising=False)
    assert tool("mysql-server") is None
    monkeypatch.setenv("MESSAGEBROKER_TOOLS", str(tmp_path))
    (tmp_path / "mysql-server").write_text("#!/bin/sh\n", encoding="utf-8")
    assert tool("mysql-server") is None, "it is no program"
    (tmp_path / "mysql-server").chmod(0o755)
    assert require_tool("mysql-server") == tmp_path / "mysql-server"
    monkeypatch.setenv("MESSAGEBROKER_TOOLS", str(tmp_path / "nowhere"))
    with pytest.raises(pytest.fail.Exception, match="is no folder"):
        require_tool("mysql-server")


def test_an_unknown_tier_is_refused(runner: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["unknown"]) == 2
    assert "there are crash" in capsys.readouterr().out


def test_all_tiers_together_stay_under_the_promise(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.TOTAL_SECONDS + 180 <= 60 * 60, "an hour, and three minutes of it for the environment"
    clock = iter((0.0, 10.0, 0.0, 10.0))
    monkeypatch.setattr(runner.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(runner, "run_all", lambda tiers: [runner.Outcome(tier, tests=1) for tier in tiers])
    monkeypatch.setattr(runner, "TOTAL_SECONDS", 9.0)
    assert runner.main([]) == 1
    monkeypatch.setattr(runner, "TOTAL_SECONDS", 11.0)
    assert runner.main([]) == 0


def test_a_tier_runs_beside_another_where_that_one_is_asked_for(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after another there, and what they print is not mixed."""
    both = threading.Barrier(2, timeout=10)
    began: list[str] = []

    def run(tier: str, said: TextIO | None = None) -> Any:
        began.append(tier)
        if tier in ("wine", "units") and "wine" in asked:
            both.wait()
        print(f"{tier} is done", file=said)
        return runner.Outcome(tier)

    budgets = {"quick": {}, "units": {"beside": "wine"}, "wine": {}, "boxes": {"beside": "wine"}, "docs": {}}
    monkeypatch.setattr(runner, "BUDGETS", budgets)
    monkeypatch.setattr(runner, "REPORTS", tmp_path / "build")
    monkeypatch.setattr(runner, "run", run)
    asked = list(budgets)
    assert [outcome.tier for outcome in runner.run_all(asked)] == asked
    assert (began[0], set(began[1:3]), began[3:]) == ("quick", {"wine", "units"}, ["boxes", "docs"])
    said = [line for line in capsys.readouterr().out.splitlines() if line]
    assert said == [f"{tier} is done" for tier in ("quick", "wine", "units", "boxes", "docs")]
    began.clear()
    asked = ["units", "boxes"]
    assert [outcome.tier for outcome in runner.run_all(asked)] == asked == began


def test_tiers_run_beside_such_that_there_are(runner: ModuleType) -> None:
    budgets = tomllib.loads((Path(__file__).parent / "budgets.toml").read_text(encoding="utf-8"))
    beside = {name: table["beside"] for name, table in budgets.items() if isinstance(table, dict) and "beside" in table}
    assert beside
    assert {tier for tier in beside.values() if tier not in budgets or tier in beside} == set()


A_CLOCK = """
    import itertools, pytest

    tries = itertools.count(1)

    {mark}
    def test_in_time():
        assert next(tries) >= {good}, "too late"
"""


def test_what_holds_a_clock_is_tried_again_and_shown(pytester: pytest.Pytester) -> None:
    """In a pytest of its own: the third try is good, and the summary says what was wrong with the first two."""
    result = tried(pytester, mark="@pytest.mark.clocked", good=3)
    assert result.parseoutcomes() == {"passed": 1, "rerun": 2}
    said = result.stdout.str()
    assert said.count("AssertionError: too late") == 2
    [(first, why), (second, _)] = tried_again(said)
    assert first == second == "test_what_holds_a_clock_is_tried_again_and_shown.py::test_in_time"
    assert why.splitlines()[-1].endswith("AssertionError")
    assert '<property name="tries" value="3"' in (pytester.path / "junit.xml").read_text(encoding="utf-8")


def test_every_hook_is_at_work(pytestconfig: pytest.Config) -> None:
    """The tests beside this one import all of them; here it is what conftest.py does."""
    for name in (name for name in vars(tiers) if name.startswith("pytest_")):
        at_work = [found.function for found in getattr(pytestconfig.hook, name).get_hookimpls()]
        assert getattr(tiers, name) in at_work, name


def test_four_times_too_late_is_too_late(pytester: pytest.Pytester) -> None:
    assert tried(pytester, mark="@pytest.mark.clocked", good=4).parseoutcomes() == {"failed": 1, "rerun": 2}


def test_everything_else_has_one_try(pytester: pytest.Pytester) -> None:
    assert tried(pytester, mark="", good=2).parseoutcomes() == {"failed": 1}


def tried(pytester: pytest.Pytester, **words: object) -> pytest.RunResult:
    pytester.makeini("[pytest]\nmarkers =\n  clocked: see there\njunit_family = xunit1")
    pytester.makeconftest(f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom support.tiers import *")
    pytester.makepyfile(A_CLOCK.format(**words))
    return pytester.runpytest_subprocess("--junitxml=junit.xml")


def test_tries_are_counted_by_the_runner(runner: ModuleType, tmp_path: Path) -> None:
    """A test counts once, though it may have an entry for each try."""
    junit = tmp_path / "crash.xml"
    case = '<testcase classname="tests.x" name="{0}"><properties><property name="tries" value="{1}"/></properties></testcase>'
    elsewhere = case.format("c", 1).replace("</properties>", '<property name="tried_again" value="a.py::b"/></properties>')
    cases = [case.format("a", 1), *(case.format("b", tries) for tries in (1, 2, 3)), elsewhere]
    junit.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>", encoding="utf-8")
    outcome = runner.Outcome("crash")
    runner.read(junit, outcome)
    assert (outcome.passed, outcome.tried_again) == (3, ["tests.x.b", "a.py::b"])
