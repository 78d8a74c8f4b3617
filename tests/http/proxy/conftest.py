"""A proxy over a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.proxy import Proxy

from messagebroker.settings import load


@pytest.fixture
def proxy(tmp_path: Path, redis_url: str) -> Iterator[Proxy]:
    made = Proxy(load({}, data_dir=tmp_path, environment="test", redis_url=redis_url, redis_read_timeout=10, proxy_threads=4))
    made.parts.admission.look()
    yield made
    made.parts.patience.close()
    made.parts.committer.close()
    made.redis.close()
