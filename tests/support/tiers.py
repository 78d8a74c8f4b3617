"""pytest's side of the tiers: `pytest` alone runs the quick one, `pytest --tier=crash` another, `--tier=all` everything."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

_FILE = tomllib.loads((Path(__file__).parents[1] / "budgets.toml").read_text(encoding="utf-8"))
BUDGETS = {name: table for name, table in _FILE.items() if isinstance(table, dict)}


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
        items[:] = [item for item in items if item not in set(left_out)]


def tier_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("tier")
    if marker is not None:
        return str(marker.args[0])
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    servers = {parameters.get(fixture) for fixture in ("database", "sql_server")}
    servers |= {fixture.removesuffix("_server") for fixture in getattr(item, "fixturenames", ())}
    return "mysql" if "mysql" in servers else "databases" if "mariadb" in servers else "quick"
