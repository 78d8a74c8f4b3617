"""The runner of the tiers: what turns a tier red."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_tiers_under_test", Path(__file__).parent / "run_tiers.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "BUDGETS", {"crash": {"about": "", "seconds": 10, "rounds": 50}})
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


def test_an_unknown_tier_is_refused(runner: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["unknown"]) == 2
    assert "there are crash" in capsys.readouterr().out


def test_all_budgets_together_stay_under_the_promise() -> None:
    from support.tiers import BUDGETS

    assert sum(budget["seconds"] for budget in BUDGETS.values()) + 180 <= 55 * 60
