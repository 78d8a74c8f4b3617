"""One project for all tests that leave it as they found it; it comes up from nothing, as the first test sees."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.containers import HOME, ROLES, Project
from support.images import Images, built, servers
from support.installation import ClientFiles


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    with built(str(os.getpid())) as found:
        yield found


@pytest.fixture(scope="session")
def system(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """MySQL, Redis, two proxies, three workers; asked for their health more often than by default, as faults are awaited."""
    with Project("system", images, tmp_path_factory.mktemp("system"), proxies=2, HEALTH_INTERVAL="4s") as project:
        yield project.up("--scale", "worker=3", "--scale", "proxy=2")


@pytest.fixture(scope="session")
def other(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """What `system` is not: on MariaDB, with volumes that hold a few megabytes, and watched by Prometheus.

    Grafana cannot be had without a registry; its files are only read.
    """
    files = ("compose.mariadb.yaml", "compose.monitoring.yaml", Path(__file__).parent / "small_volumes.yaml")
    stand_ins = servers("MARIADB_IMAGE", "PROMETHEUS_IMAGE")
    with Project("other", images, tmp_path_factory.mktemp("other"), *files, **stand_ins) as project:
        yield project.up(*ROLES, "prometheus")


@pytest.fixture(scope="session")
def other_sender(other: Project) -> ClientFiles:
    return other.client("acme")


@pytest.fixture(autouse=True)
def _awake(request: pytest.FixtureRequest) -> None:
    for name in ("system", "other"):
        if name in request.fixturenames:
            project: Project = request.getfixturevalue(name)
            project.wake()


@pytest.fixture(scope="session")
def sender(system: Project) -> ClientFiles:
    return system.client("acme")


@pytest.fixture(scope="session")
def recovery_key(system: Project) -> str:
    """As it is shown after the first start; it stays there to be shown."""
    words = ("run", "--rm", "-T", "handover", "setup", "handover", f"--from={HOME}/handover", "--keep")
    shown = system.compose(*words)
    return next(line.partition(": ")[2] for line in shown.splitlines() if line.startswith("recovery key: "))
