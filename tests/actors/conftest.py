"""A broker on the session's Redis, and workers to be started on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import peewee as pw
import pytest
import redis as redis_py
from support.records import KEYS

from messagebroker.actors import ingest, queue_worker
from messagebroker.actors.broker import Broker, setup_broker
from messagebroker.actors.broker import broker as the_broker
from messagebroker.actors.queue_worker import QueueWorker, stop_together
from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.db.models import PRIORITIES
from messagebroker.ops import stored_keys
from messagebroker.ops.queues import QUEUES, depths
from messagebroker.ops.records import Record
from messagebroker.settings import Settings, load


@pytest.fixture(autouse=True)
def _no_known_keys() -> None:
    stored_keys._known.clear()


@pytest.fixture
def redis_settings(tmp_path: Path, redis_url: str) -> Settings:
    return load({}, data_dir=tmp_path, environment="test", redis_url=redis_url)


@pytest.fixture
def sqlite(redis_settings: Settings) -> Iterator[pw.Database]:
    opened = open_database(redis_settings)
    schema.upgrade()
    yield opened
    opened.close()


@pytest.fixture
def broker(redis_settings: Settings) -> Iterator[Broker]:
    the_broker.heartbeat_timeout = 15_000
    yield setup_broker(redis_settings)
    the_broker.close()


@pytest.fixture
def another_broker(redis_settings: Settings, broker: Broker) -> Iterator[Broker]:
    """As another process has it: the same actors, a name of its own."""
    other = Broker()
    other.actors = broker.actors
    other.connect_to(redis_settings)
    yield other
    other.close()


@pytest.fixture
def client(redis_settings: Settings) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_settings.redis) as made:
        yield made


@pytest.fixture
def enqueue(client: redis_py.Redis) -> Callable[[list[Record]], None]:
    def send(records: list[Record]) -> None:
        pipe = client.pipeline(transaction=True)
        ingest.add_calls(pipe, records, KEYS)
        pipe.execute()

    return send


@pytest.fixture
def start_worker(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., QueueWorker]]:
    monkeypatch.setattr(queue_worker, "_WAKES_EVERY_MS", 50)  # a test does not wait a second for idle threads to stop
    started: list[QueueWorker] = []

    def start(queues: tuple[str, ...] = PRIORITIES, threads: int = 2) -> QueueWorker:
        worker = QueueWorker(broker, queues, threads)
        started.append(worker)
        worker.start()
        return worker

    yield start
    with suppress(Exception):
        stop_together(started, 10)


@pytest.fixture
def depth(client: redis_py.Redis) -> Callable[[str], int]:
    return lambda queue="normal": {found.queue: found.messages for found in depths(client)}[queue]


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.01)
    return found


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def expects_dead_letters() -> None:
    """For tests that make some."""


@pytest.fixture(autouse=True)
def _no_dead_letters(request: pytest.FixtureRequest) -> Iterator[None]:
    """Dramatiq's dead-letter set stays empty in every test, but in those that make dead letters."""
    looks = "redis_url" in request.fixturenames and "expects_dead_letters" not in request.fixturenames
    url = request.getfixturevalue("redis_url") if looks else None
    yield
    if url:
        with redis_py.Redis.from_url(url) as client:
            assert not any(client.exists(f"messagebroker:{queue}.XQ") for queue in QUEUES)
