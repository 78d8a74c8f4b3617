"""One Windows machine a session, with our package in it, beside Linux' Redis and MariaDB."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.servers import MariaDB, Redis, free_port
from support.windows import Running, Windows
from support.windows_installation import WindowsInstallation
from support.windows_units import words

from messagebroker.roles import ROLES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder belongs to the tier `windows`. Who waits for the quick tests comes last: they go on beside
    all the others."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path == here / "test_units.py")
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.tier("windows"))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def windows() -> Iterator[Windows]:
    with Windows() as machine:
        machine.install()
        yield machine


@pytest.fixture(scope="session", autouse=True)
def unit_run(windows: Windows) -> Iterator[Running]:
    """The quick tests, from now on, on a machine of their own: services spend most of their time waiting."""
    windows.prepare_tests()
    with windows.twin() as machine, Redis() as redis:
        run = machine.begin_tests(*words(), redis_port=redis.port)
        yield run
        run.end()


@pytest.fixture(scope="session")
def installation(windows: Windows, redis_server: Redis, mariadb_server: MariaDB) -> Iterator[WindowsInstallation]:
    """`messagebroker setup` and `services install`, as an operator types them."""
    for leftover in (r"C:\MessageBroker\.env", r"C:\MessageBroker\main_server"):
        path = windows.path(leftover)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    ports = {name: free_port() for name in ("main_server_port", "proxy_port", "portal_port", "metrics_port")}
    made = WindowsInstallation(windows, redis=redis_server, database=mariadb_server, ports=ports)
    made.set_up()
    yield made
    made.remove_services()


@pytest.fixture(scope="session")
def running(installation: WindowsInstallation) -> WindowsInstallation:
    """Everything started, in order."""
    started = installation.services("start", seconds=240)
    assert started.code == 0, started.text + "".join(installation.log(role.name)[-1500:] for role in ROLES)
    return installation
