"""pytest's side of the tiers: `pytest` alone runs the quick one, `pytest --tier=crash` another, `--tier=all` everything.

A test marked `clocked`, or of a tier that is, holds real clocks against a machine that may be busy with something else.
When it fails it is tried again, up to TRIES times, and the summary shows what was wrong with each try. All others
fail at once: a race that shows itself once in a hundred runs is a defect.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

_FILE = tomllib.loads((Path(__file__).parents[1] / "budgets.toml").read_text(encoding="utf-8"))
BUDGETS = {name: table for name, table in _FILE.items() if isinstance(table, dict)}

TRIES = 3

FAILED = pytest.StashKey[bool]()
"""Of an item, once its try has ended: for fixtures that give a next try something new."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tier", default="quick", choices=[*BUDGETS, "all"], help="which tier to run (tests/budgets.toml)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("--tier")
    unknown = {tier_of(item) for item in items} - BUDGETS.keys()
    if unknown:
        raise pytest.UsageError(f"tests/budgets.toml knows no tier {', '.join(sorted(unknown))}")
    left_out = [item for item in items if wanted not in ("all", tier_of(item))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if wanted == tier_of(item)]
    for item in items:
        if item.get_closest_marker("clocked") or BUDGETS[tier_of(item)].get("clocked"):
            item.add_marker(pytest.mark.flaky(reruns=TRIES - 1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Which try it is goes into the report, and with it into the tier's JUnit file."""
    item.stash[FAILED] = call.excinfo is not None
    item.user_properties = [(name, value) for name, value in item.user_properties if name != "tries"]
    item.user_properties.append(("tries", getattr(item, "execution_count", 1)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was wrong with each try that was not the last one."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"tried again: {report.nodeid}", sep="-", yellow=True)
        terminalreporter.line(report.longreprtext)


def tried_again(said: str) -> list[tuple[str, str]]:
    """Of what another pytest said: the tests that this summary names, each with what was wrong."""
    found = re.findall(r"^-+ tried again: (.+?) -+$\n(.*?)(?=^-+ tried again: |^={3,} )", said, re.MULTILINE | re.DOTALL)
    return [(name, why.strip()) for name, why in found]


def tier_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("tier")
    if marker is not None:
        return str(marker.args[0])
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    servers = {parameters.get(fixture) for fixture in ("database", "sql_server")}
    servers |= {fixture.removesuffix("_server") for fixture in getattr(item, "fixturenames", ())}
    return "mysql" if "mysql" in servers else "databases" if "mariadb" in servers else "quick"
