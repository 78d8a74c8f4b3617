"""`messagebroker run scheduler`: sends periodic actors when their time has come. Several may run; one leads."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import dramatiq
import peewee as pw
import pendulum
import redis
import structlog
from periodiq import CronSpec

from messagebroker import __version__
from messagebroker.actors import ops as jobs
from messagebroker.actors.broker import setup_broker
from messagebroker.db.connection import open_database
from messagebroker.db.writing import give_up_connection
from messagebroker.errors import Unavailable
from messagebroker.ops import metrics
from messagebroker.ops.heartbeats import Heart
from messagebroker.ops.leading import lead
from messagebroker.ops.redis_client import NAMESPACE
from messagebroker.ops.timetable import send_if_due
from messagebroker.settings import Settings

ROUND_SECONDS = 1.0
LEASE_SECONDS = 5.0  # between renewals

_log = structlog.get_logger("messagebroker.scheduler")


def serve(settings: Settings, stop: threading.Event) -> None:
    """Runs until `stop` is set; then another scheduler may lead at once."""
    open_database(settings)
    broker = setup_broker(settings)
    jobs.setup(settings)
    metrics.BUILD.info({"version": __version__, "role": "scheduler"})
    heart = Heart("scheduler")
    with ExitStack() as running:
        running.callback(broker.close)
        running.callback(give_up_connection)
        heart.start()
        running.callback(heart.stop)
        periodic = [actor for actor in broker.actors.values() if "periodic" in actor.options]
        scheduler = Scheduler(periodic, ZoneInfo(settings.schedule_timezone), heart.instance)
        while not stop.is_set():
            scheduler.round()
            stop.wait(ROUND_SECONDS)


class Scheduler:
    """Looks at the timetable while it leads."""

    def __init__(self, actors: list[dramatiq.Actor[Any, Any]], zone: ZoneInfo, instance: str) -> None:
        self._actors = actors
        self._zone = zone
        self._instance = instance
        self._leads = False
        self._lease_at = float("-inf")
        self._told: str | None = None

    def round(self) -> None:
        """One look; an outage of the database or of Redis leaves everything due as it is."""
        try:
            self._renew()
            if self._leads:
                for actor in self._actors:
                    self._look_at(actor)
            self._told = None
        except (Unavailable, pw.PeeweeException, redis.RedisError) as error:
            if self._told is None:
                _log.warning("periodic jobs wait", error=str(error))
            self._told = str(error)

    def _renew(self) -> None:
        if time.monotonic() - self._lease_at < LEASE_SECONDS:
            return
        led, self._leads = self._leads, False  # until the database says otherwise
        self._leads = lead("scheduler", self._instance)
        self._lease_at = time.monotonic()
        if led != self._leads:
            _log.info("leads from now on" if self._leads else "another scheduler leads")

    def _look_at(self, actor: dramatiq.Actor[Any, Any]) -> None:
        following = partial(next_run, actor.options["periodic"], zone=self._zone)
        if send_if_due(actor.actor_name, following, partial(_send, actor)):
            _log.info("job sent", job=actor.actor_name)


def _send(actor: dramatiq.Actor[Any, Any], due_at: datetime) -> None:
    once = f"{NAMESPACE}:once:{actor.actor_name}:{due_at:%Y%m%dT%H%M}"
    actor.send_with_options(scheduled_at=due_at.isoformat(), once=once)


def next_run(spec: CronSpec, after: datetime, *, zone: ZoneInfo) -> datetime:
    """The first instant after `after` that the schedule names, on the wall clocks of `zone`.

    Computed on the wall clock and only then placed in time: an hour that a zone repeats in autumn counts once, and what
    is due in the hour that spring skips comes an hour later.
    """
    local = after.astimezone(zone)
    wall = pendulum.datetime(local.year, local.month, local.day, local.hour, local.minute)
    while True:
        wall = spec.next_valid_date(wall)
        found = datetime(wall.year, wall.month, wall.day, wall.hour, wall.minute, tzinfo=zone).astimezone(UTC)
        if found > after:
            return found
