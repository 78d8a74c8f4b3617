"""One machine with systemd for all tests that need one: making it takes most of their time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.systemd_machine import Machine


@pytest.fixture(scope="session")
def systemd_machine() -> Iterator[Machine]:
    with Machine() as made:
        yield made
