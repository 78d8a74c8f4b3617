from __future__ import annotations

import re
from pathlib import Path

import pytest

from messagebroker import roles
from messagebroker.cli.run import entry
from messagebroker.roles import BY_NAME, ROLES, SERVERS
from messagebroker.settings import WITH_DATABASE, Settings


def test_the_table_has_the_five_roles_with_the_services_that_operators_know() -> None:
    assert [(role.name, role.service, role.log_file) for role in ROLES] == [
        ("main", "MessageBrokerMainServer", "main_server.log"),
        ("proxy", "MessageBrokerProxy", "proxy.log"),
        ("worker", "MessageBrokerWorker", "worker.log"),
        ("scheduler", "MessageBrokerScheduler", "scheduler.log"),
        ("portal", "MessageBrokerPortal", "portal.log"),
    ]


def test_ports_are_those_of_the_runbooks() -> None:
    ports = {role.name: Settings.model_fields[role.port_setting].default for role in ROLES if role.port_setting}
    assert ports == {"main": 8000, "proxy": 8001, "worker": 9100, "portal": 5000}


def test_a_role_needs_only_what_exists_and_nothing_needs_itself() -> None:
    for role in ROLES:
        assert set(role.needs) <= {*roles.NAMES, *SERVERS}
    started: set[str] = set(SERVERS)
    while len(started) < len(ROLES) + len(SERVERS):
        ready = {role.name for role in ROLES if role.name not in started and set(role.needs) <= started}
        assert ready, f"a circle among {set(BY_NAME) - started}"
        started |= ready


@pytest.mark.parametrize("name", WITH_DATABASE)
def test_roles_that_need_the_database_are_those_that_get_it(name: str) -> None:
    assert "mysql" in BY_NAME[name].needs


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_can_be_run(role: roles.Role) -> None:
    assert callable(entry(role.name))


def test_a_role_without_a_port_has_no_health_address() -> None:
    for role in ROLES:
        assert (role.port_setting is None) == (role.health is None) == (role.scheme is None)


def test_the_documents_show_the_table() -> None:
    text = (Path(__file__).parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
    for role in ROLES:
        port = Settings.model_fields[role.port_setting].default if role.port_setting else "–"
        cells = (
            role.name,
            f"`messagebroker run {role.name}`",
            f"{port}[^|]*",
            role.service,
            role.log_file,
            f"{role.stop_seconds} s",
        )
        row = "".join(rf"\| {cell} " for cell in cells)
        assert re.search(row, text), f"docs/operations.md has no row for {role.name} that matches {row}"
