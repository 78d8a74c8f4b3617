"""`messagebroker run worker`: takes calls off the queues and looks for what is due."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import redis
import structlog
from prometheus_client import generate_latest

from messagebroker import __version__
from messagebroker.actors import storing, worker_family
from messagebroker.actors.broker import Broker, setup_broker
from messagebroker.actors.deliveries import service
from messagebroker.actors.duty import Duty
from messagebroker.actors.follower import Follower
from messagebroker.actors.ingest import INGEST
from messagebroker.actors.poller import Poller
from messagebroker.actors.queue_worker import QueueWorker, stop_together
from messagebroker.actors.status_page import StatusPage
from messagebroker.actors.waits import WAITS
from messagebroker.actors.worker_checks import database_answers, observe_queues
from messagebroker.db.connection import open_database
from messagebroker.ops import metrics
from messagebroker.ops.heartbeats import Heart
from messagebroker.ops.queues import guard_legacy_key
from messagebroker.ops.redis_client import connect, redis_answers
from messagebroker.roles import BY_NAME
from messagebroker.settings import Settings

_DELIVERY_STOP_SECONDS = 10.0  # what hangs for longer is given back, and tried by others
_STOP_SECONDS = BY_NAME["worker"].stop_seconds - _DELIVERY_STOP_SECONDS - 15.0
_WATCH_SECONDS = 2.0  # on Windows a waiting main thread hears of a signal only in between
_SILENT_SECONDS = 90.0  # a poller in the middle of a statement waits for the driver's time-out of 60 s

_log = structlog.get_logger("messagebroker.worker")


def serve(settings: Settings, stop: threading.Event) -> None:
    """Works until `stop` is set: in this process, or in WORKER_COUNT children of it."""
    if settings.worker_count > 1:
        worker_family.serve(settings, stop)
    else:
        work(settings, stop)


def work(settings: Settings, stop: threading.Event) -> None:
    """One process' work. Parts end in the reverse order of their start."""
    open_database(settings)
    broker = setup_broker(settings)
    metrics.BUILD.info({"version": __version__, "role": "worker"})
    ordinary = [queue for queue in INGEST if queue != "critical"]
    workers = [QueueWorker(broker, ["critical"], 1), QueueWorker(broker, ordinary, settings.worker_threads)]
    with ExitStack() as running:
        running.callback(broker.close)
        heart = Heart("worker")
        client = connect(settings)  # the broker's own waits longer for Redis than readiness may
        running.callback(client.close)
        deliveries = service.of_worker(settings, client, heart)
        poller = Poller(lambda: deliveries.subscriptions.must_route)
        page = _status_page(settings, client, workers, poller, deliveries)
        page.start()
        running.callback(page.stop)
        duty = Duty(settings, workers, deliveries.engine, broker.client)
        heart.details = duty.details
        heart.start()
        running.callback(heart.stop)
        follower = Follower(duty.resize, duty.rest, duty.flush)
        follower.start()  # before anything is taken: it knows which queues rest
        running.callback(follower.stop)
        deliveries.start()
        running.callback(deliveries.stop, _DELIVERY_STOP_SECONDS)
        storing.use(deliveries.router)  # for good: a thread may outlast the stop, and what it stores still has receivers
        poller.start()
        running.callback(poller.stop)
        for worker in workers:
            worker.start()
        running.callback(stop_together, workers, _STOP_SECONDS)
        _keep_watch(broker, stop)


def _keep_watch(broker: Broker, stop: threading.Event) -> None:
    """Waits; an emptied Redis gets its guard against old scripts back."""
    while True:
        try:
            guard_legacy_key(broker.client)
        except redis.RedisError as error:
            _log.debug("the old queue's name is not guarded", error=str(error))
        if stop.wait(_WATCH_SECONDS):
            return


def _status_page(
    settings: Settings, client: redis.Redis, workers: list[QueueWorker], poller: Poller, deliveries: service.Deliveries
) -> StatusPage:
    def threads() -> str | None:
        dead = [name for worker in workers for name in worker.dead_threads()]
        return f"ended: {', '.join(dead)}" if dead else None

    def poller_moves() -> str | None:
        silent = time.monotonic() - poller.seen_at
        return None if poller.lives and silent < _SILENT_SECONDS else f"no round for {silent:.0f} s"

    return StatusPage(
        settings.metrics_host,
        settings.metrics_port,
        alive={"threads": threads, "poller": poller_moves, "deliveries": deliveries.check},
        ready={"database": database_answers, "storing": WAITS.check, "redis": lambda: redis_answers(client)},
        metrics=(lambda: metrics_text(client)) if settings.metrics_enabled else None,
    )


def metrics_text(client: redis.Redis) -> bytes:
    """Prometheus' text form of this process, the queues as they are now among it."""
    observe_queues(client)
    return generate_latest(metrics.REGISTRY)
