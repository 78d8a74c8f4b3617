"""A CA and a server with it, for tests of what speaks HTTPS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.certs import Authority, Issued
from support.serving import Serving


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that issued certificates to the component `proxy` and to the client `acme`."""
    made = Authority(tmp_path_factory.mktemp("ca"))
    made.component("proxy")
    return made


@pytest.fixture(scope="session")
def acme(authority: Authority) -> Issued:
    return authority.client("acme")


@pytest.fixture
def serve(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Serving]]:
    """Starts servers that end with the test."""
    with ExitStack() as stack:

        def start(*app: Any, **options: Any) -> Serving:
            options.setdefault("authority", authority)
            return stack.enter_context(Serving(tmp_path, *app, **options))

        yield start
