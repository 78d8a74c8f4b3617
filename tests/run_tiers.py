"""`python tests/run_tiers.py [TIER …]`: runs tiers and holds each to tests/budgets.toml.

One tier runs after another, but for those that run `beside` one that leaves room on two cores: these do so one after
another, and what they print comes afterwards.

A tier fails when a test fails, is skipped or is missing, when it takes longer than its budget, or when it stays below
one of its floors; all together may take `total_seconds`. The exit code is 0 only when every tier is green. A tier with
`by_hand` runs when it is named, and says why when it is not. One kind of skip is only reported: that of a test
whose machine cannot have what it needs (tests/support/machine.py), and not that either where CI is set.
Tests that needed another try (tests/support/tiers.py) are counted in the last lines.
"""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from support.machine import CANNOT_HAVE

TESTS = Path(__file__).parent
_FILE = tomllib.loads((TESTS / "budgets.toml").read_text(encoding="utf-8"))
BUDGETS: dict[str, dict[str, object]] = {name: table for name, table in _FILE.items() if isinstance(table, dict)}
TOTAL_SECONDS: float = _FILE["total_seconds"]
ABOUT_THE_TIER = {"seconds", "about", "by_hand", "processes", "clocked", "beside"}
"""Whatever else its table has is a floor."""
REPORTS = TESTS.parent / "build" / "tests"
GRACE_SECONDS = 60.0  # beyond the budget before pytest is stopped: a late tier should still say which test was slow


@dataclass
class Outcome:
    """What one tier did."""

    tier: str
    seconds: float = 0.0
    tests: int = 0
    failed: int = 0
    skipped: int = 0
    tried_again: list[str] = field(default_factory=list)
    impossible: collections.Counter[str] = field(default_factory=collections.Counter)  # skips by what the machine cannot have
    counted: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> int:
        return self.tests - self.failed - self.skipped


def main(asked: list[str]) -> int:
    unknown = [tier for tier in asked if tier not in BUDGETS]
    if unknown:
        print(f"no such tier: {', '.join(unknown)}; there are {', '.join(BUDGETS)}")
        return 2
    by_hand = [tier for tier in BUDGETS if "by_hand" in BUDGETS[tier] and not asked]
    began = time.monotonic()
    outcomes = run_all([tier for tier in BUDGETS if tier in (asked or BUDGETS) and tier not in by_hand])
    seconds = time.monotonic() - began
    for tier in by_hand:
        print(f"\ntier {tier} runs by hand only (`just test-tiers {tier}`): {BUDGETS[tier]['by_hand']}")
    report(outcomes, seconds)
    late = seconds > TOTAL_SECONDS
    if late:
        print(f"FAILED: all tiers together took more than {TOTAL_SECONDS:.0f} s", flush=True)
    return 1 if late or any(outcome.problems for outcome in outcomes) else 0


def run_all(tiers: Sequence[str]) -> list[Outcome]:
    """What came of them, in their order."""
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(max_workers=1) as other_lane:
        for tier in tiers:
            if BUDGETS[tier].get("beside") in tiers:
                continue  # that one takes it along
            beside = {other: other_lane.submit(run_aside, other) for other in tiers if BUDGETS[other].get("beside") == tier}
            outcomes[tier] = run(tier)
            for other, running in beside.items():
                outcomes[other] = running.result()
                print((REPORTS / f"{other}.log").read_text(encoding="utf-8", errors="replace"), flush=True)
    return [outcomes[tier] for tier in tiers]


def run_aside(tier: str) -> Outcome:
    """With what it prints in build/tests/."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    with open(REPORTS / f"{tier}.log", "w", encoding="utf-8") as said:
        return run(tier, said)


def run(tier: str, said: TextIO | None = None) -> Outcome:
    """One tier.

    Args:
        said: takes what it prints, by default our own output does.
    """
    budget = float(str(BUDGETS[tier]["seconds"]))
    REPORTS.mkdir(parents=True, exist_ok=True)
    junit = REPORTS / f"{tier}.xml"
    junit.unlink(missing_ok=True)
    print(f"\n##### tier {tier}: {BUDGETS[tier]['about']} (at most {budget:.0f} s)", file=said, flush=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--tier={tier}",
        f"--junitxml={junit}",
        "-o",
        "junit_family=xunit1",
        "--durations=5",
        *_side_by_side(tier),
    ]
    outcome = Outcome(tier)
    began = time.monotonic()
    # where Python may not write bytecode, each tier translates all test files again
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
    with subprocess.Popen(command, cwd=TESTS.parent, env=environment, **streams) as process:
        try:
            code = process.wait(budget + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            code = process.wait()
            outcome.problems.append(f"stopped {GRACE_SECONDS:.0f} s after its budget")
    outcome.seconds = time.monotonic() - began
    if junit.exists():
        read(junit, outcome)
    judge(outcome, code, budget)
    return outcome


def _side_by_side(tier: str) -> list[str]:
    """Files of a tier that two processes share, each with servers of its own."""
    processes = BUDGETS[tier].get("processes")
    return ["-n", str(processes), "--dist", "loadfile"] if processes else []


def read(junit: Path, outcome: Outcome) -> None:
    """The counts, and the sums of what tests reported with record_property.

    A test has an entry for each of its tries (where several processes share the tier), and the last is what it came to.
    """
    cases = {(case.get("classname"), case.get("name")): case for case in ET.parse(junit).getroot().iter("testcase")}
    for case in cases.values():
        outcome.tests += 1
        outcome.failed += case.find("failure") is not None or case.find("error") is not None
        if (skipped := case.find("skipped")) is not None:
            outcome.skipped += 1
            reason = skipped.get("message", "")
            outcome.impossible.update([reason] if reason.startswith(CANNOT_HAVE) else [])
        for item in case.iter("property"):
            if item.get("name") == "tries" and item.get("value") != "1":
                outcome.tried_again.append(f"{case.get('classname')}.{case.get('name')}")
            if item.get("name") == "tried_again":  # by a pytest that this test looked at
                outcome.tried_again.append(str(item.get("value")))
            if item.get("name") in BUDGETS[outcome.tier]:
                name = str(item.get("name"))
                outcome.counted[name] = outcome.counted.get(name, 0) + int(item.get("value", "0"))


def judge(outcome: Outcome, code: int, budget: float) -> None:
    if code != 0:
        outcome.problems.append(f"pytest ended with {code}")
    if outcome.tests == 0:
        outcome.problems.append("no test ran")
    if needless := outcome.skipped - (0 if in_ci() else outcome.impossible.total()):
        outcome.problems.append(f"{needless} skipped; what a test needs is installed or the test fails")
    if outcome.seconds > budget:
        outcome.problems.append(f"took {outcome.seconds:.0f} s, its budget is {budget:.0f} s")
    for name, floor in BUDGETS[outcome.tier].items():
        if name not in ABOUT_THE_TIER and outcome.counted.get(name, 0) < int(str(floor)):
            outcome.problems.append(f"{outcome.counted.get(name, 0)} {name}, its floor is {floor}")


def in_ci() -> bool:
    """Where every test has to run: the machine of the CI is one that can have everything."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def report(outcomes: list[Outcome], seconds: float) -> None:
    """A table and a last line; `seconds` is what all of them took together."""
    print(f"\n{'tier':14}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}{'budget':>8}")
    for outcome in outcomes:
        counted = "".join(f"  {count} {name}" for name, count in outcome.counted.items())
        print(
            f"{outcome.tier:14}{outcome.passed:8}{outcome.failed:8}{outcome.skipped:9}{outcome.seconds:9.0f}"
            f"{BUDGETS[outcome.tier]['seconds']:8}{counted}"
        )
    for outcome in outcomes:
        for reason, count in outcome.impossible.items():
            print(f"NOT RUN in tier {outcome.tier}: {count} tests, because {reason}")
        for name in outcome.tried_again:
            print(f"TRIED AGAIN in tier {outcome.tier}: {name}")
        for problem in outcome.problems:
            print(f"FAILED tier {outcome.tier}: {problem}")
    passed, failed, skipped = (sum(getattr(outcome, name) for outcome in outcomes) for name in ("passed", "failed", "skipped"))
    green = sum(not outcome.problems for outcome in outcomes)
    print(
        f"==== {passed} passed, {failed} failed, {skipped} skipped in {seconds:.1f}s; "
        f"{green} of {len(outcomes)} tiers green ====",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
