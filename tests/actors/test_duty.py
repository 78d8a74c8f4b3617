"""What a worker process takes over and tells, without a worker process."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import peewee as pw
import pytest
import redis as redis_py
from support.cast import TEST
from support.records import record, records

from messagebroker.actors.broker import Broker
from messagebroker.actors.deliveries.windows import Windows
from messagebroker.actors.duty import Duty
from messagebroker.actors.queue_worker import QueueWorker
from messagebroker.ops import concurrency, queue_rates, steering
from messagebroker.ops.concurrency import DELIVERIES, THREADS
from messagebroker.ops.records import Record
from messagebroker.settings import Settings


class Made:
    def __init__(self, settings: Settings, broker: Broker) -> None:
        windows = Windows(settings.deliveries_at_once)
        self.engine: Any = SimpleNamespace(
            windows=windows, rest=lambda queues: 0, resize=lambda number: setattr(windows, "at_once", number)
        )
        self.workers = [QueueWorker(broker, ["critical"], 1), QueueWorker(broker, ["normal"], settings.worker_threads)]
        self.duty = Duty(settings, self.workers, self.engine, broker.client)

    def follow(self) -> None:
        steering.refresh()
        self.duty.resize()


@pytest.fixture
def made(redis_settings: Settings, broker: Broker, sqlite: pw.Database) -> Made:
    return Made(redis_settings, broker)


def test_numbers_are_taken_over_and_given_up_again(made: Made) -> None:
    concurrency.scale({THREADS: 5, DELIVERIES: 30}, TEST)
    made.follow()
    assert ([worker.worker_threads for worker in made.workers], made.engine.windows.at_once) == ([1, 5], 30)
    concurrency.scale({THREADS: None, DELIVERIES: None}, TEST)
    made.follow()
    assert ([worker.worker_threads for worker in made.workers], made.engine.windows.at_once) == ([1, 2], 1000)


def test_there_are_no_more_threads_than_connections(made: Made, redis_settings: Settings) -> None:
    concurrency.scale({THREADS: 64}, TEST)
    made.follow()
    assert made.workers[1].worker_threads == redis_settings.database_pool_size - 8


def test_it_tells_what_it_does(
    made: Made, start_worker: Callable[..., QueueWorker], enqueue: Callable[[list[Record]], None],
    eventually: Callable[..., None], client: redis_py.Redis,
) -> None:  # fmt: skip
    made.workers[1] = start_worker(("normal",), threads=2)
    made.duty._workers = made.workers
    first = made.duty.details()
    assert (first["threads"], first["calls"], first["deliveries"], first["deliveries_at_once"]) == (3, 0, 0, 1000)
    enqueue([*records(40), record()])
    eventually(lambda: made.workers[1].finished == 41)
    queue_rates.count_delivered("low", 9)
    told = made.duty.details()
    assert told["stored_per_second"] > 0
    assert told["delivered_per_second"] == pytest.approx(told["stored_per_second"] * 9 / 41, rel=0.01, abs=0.01)
    made.duty.flush()
    assert queue_rates.rates(client)["low"].delivered > 0
    made.duty.rest()
