"""Two projects that all tests share which leave them as they found them; they come up from nothing, as the first test sees."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.containers import HOME, ROLES, Project
from support.images import Images, built, servers
from support.installation import ClientFiles
from support.kept import Kept


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    with built(str(os.getpid())) as found:
        yield found


@pytest.fixture(scope="session")
def kept_system(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """MySQL, Redis, two proxies, three workers; asked for their health more often than by default, as faults are awaited."""

    @contextmanager
    def made() -> Iterator[Project]:
        with Project("system", images, tmp_path_factory.mktemp("system"), proxies=2, HEALTH_INTERVAL="4s") as project:
            yield project.up("--scale", "worker=3", "--scale", "proxy=2")

    with Kept(made) as kept:
        yield kept


@pytest.fixture(scope="session")
def kept_other(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """What `system` is not: on MariaDB, with volumes that can be filled, and watched by Prometheus.

    Grafana cannot be had without a registry; its files are only read.
    """

    @contextmanager
    def made() -> Iterator[Project]:
        files = ("compose.mariadb.yaml", "compose.monitoring.yaml", Path(__file__).parent / "small_volumes.yaml")
        stand_ins = servers("MARIADB_IMAGE", "PROMETHEUS_IMAGE")
        with Project("other", images, tmp_path_factory.mktemp("other"), *files, **stand_ins) as project:
            yield project.up(*ROLES, "prometheus")

    with Kept(made) as kept:
        yield kept


@pytest.fixture
def system(kept_system: Kept, request: pytest.FixtureRequest) -> Iterator[Project]:
    with kept_system.lent(request) as project:
        yield project


@pytest.fixture
def other(kept_other: Kept, request: pytest.FixtureRequest) -> Iterator[Project]:
    with kept_other.lent(request) as project:
        yield project


@pytest.fixture
def sender(system: Project) -> ClientFiles:
    return system.client("acme")


@pytest.fixture
def other_sender(other: Project) -> ClientFiles:
    return other.client("acme")


@pytest.fixture
def recovery_key(system: Project) -> str:
    """As it is shown after the first start; it stays there to be shown."""
    words = ("run", "--rm", "-T", "handover", "setup", "handover", f"--from={HOME}/handover", "--keep")
    shown = system.compose(*words)
    return next(line.partition(": ")[2] for line in shown.splitlines() if line.startswith("recovery key: "))
