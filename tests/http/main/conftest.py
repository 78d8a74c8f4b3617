"""Main's application on a database of the test's own, with the fixed cast of callers; no Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import peewee as pw
import pytest
from support.cast import Cast, FakeWatcher, Shelf
from support.pki import installed

from messagebroker.http.main import app as main_app
from messagebroker.ops import keyring
from messagebroker.ops.redis_client import connect
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import Settings, load

UNLIMITED = {"api_rate_per_user": 10_000, "api_rate_per_address": 10_000, "api_rate_per_client": 10_000}


@pytest.fixture
def settings(database: pw.Database, tmp_path: Path) -> Settings:
    """Beside the fixture's database; Redis is not there."""
    made = load({}, data_dir=tmp_path, environment="test", redis_port=1, **UNLIMITED)
    keyring.first_secrets(made)
    return made


@pytest.fixture
def cast(settings: Settings) -> Iterator[Cast]:
    watcher = FakeWatcher()
    redis = connect(settings)
    app = main_app.make(settings, watcher=watcher, redis=redis)
    yield Cast(app, Tokens.load(settings), watcher, settings)
    redis.close()


@pytest.fixture
def online(database: pw.Database, tmp_path: Path, redis_url: str) -> Iterator[Cast]:
    """The cast on an installation with a CA and a Redis."""
    settings = installed(tmp_path, redis_url, **UNLIMITED)
    watcher, redis = FakeWatcher(), connect(settings)
    app = main_app.make(settings, watcher=watcher, redis=redis)
    yield Cast(app, Tokens.load(settings), watcher, settings)
    redis.close()


@pytest.fixture
def shelf(settings: Settings) -> Shelf:
    return Shelf(settings)
