"""The periodic jobs of the queue `ops`, which main consumes: the nightly backup and the cleanup.

Their results are in `periodic_jobs`, in the metrics and, for backups, in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import dramatiq
import structlog
from periodiq import cron

from messagebroker.actors.broker import broker
from messagebroker.actors.stopping import Requeue
from messagebroker.errors import BrokerError
from messagebroker.ops import (
    audit,
    breaker_events,
    clock,
    jobs,
    password_resets,
    retention,
    sessions,
    subscription_notices,
)
from messagebroker.ops import backup as backups
from messagebroker.ops.audit import Actor
from messagebroker.ops.metrics import BACKUP_SUCCESS, JOBS
from messagebroker.settings import Settings, load

_PAUSES = (60.0, 300.0)
"""Seconds before a job that failed for something that may pass is tried again."""

_MAIL_PAUSES = (2.0, 10.0, 30.0)
"""The same for mail that somebody waits for, and that other jobs wait behind."""

_log = structlog.get_logger("messagebroker.jobs")

_settings: Settings | None = None


def setup(settings: Settings) -> None:
    """Main calls it before it consumes, the scheduler before it looks at schedules: settings and times of the jobs."""
    global _settings  # noqa: PLW0603 - actors are module-level functions, and are called without arguments
    _settings = settings
    backup.options["periodic"] = cron(settings.backup_schedule)
    cleanup.options["periodic"] = cron(settings.cleanup_schedule)


@dramatiq.actor(queue_name="ops", periodic=cron("0 2 * * *"))
def backup() -> None:
    """Makes a backup."""
    _done("backup", _back_up)


@dramatiq.actor(queue_name="ops", periodic=cron("30 3 * * *"))
def cleanup() -> None:
    """Removes what is older than RETENTION_DAYS."""
    _done("cleanup", _clean_up)


@dramatiq.actor(queue_name="ops")
def mail_password_reset(email: str, address: str | None, user_agent: str | None) -> None:
    """Mails a token to who forgot their password, if there is such a user. It is drawn here, so that none is ever in Redis."""
    actor = Actor(name="anonymous", address=address, user_agent=user_agent)
    for pause in (*_MAIL_PAUSES, None):
        try:
            password_resets.mail_token(_settings or load(role="main"), email, actor)
            JOBS.labels("mail", "done").inc()
            return
        except BrokerError as error:
            if error.permanent or pause is None:
                _log.error("an e-mail was not sent", error=str(error))
                JOBS.labels("mail", "failed").inc()
                return
        if broker.stopping.wait(pause):
            raise Requeue


def _back_up(settings: Settings) -> str:
    path = backups.create(settings, _requeue_when_stopping)
    BACKUP_SUCCESS.set_to_current_time()
    audit.record("component:main", "backup.create", "backup", path.name, details={"bytes": path.stat().st_size})
    return f"{path.name}, {path.stat().st_size:,} bytes"


def _clean_up(settings: Settings) -> str:
    cleaned = retention.cleanup(settings, stop=broker.stopping)
    before = clock.now() - timedelta(days=settings.retention_days)
    breaker_events.forget_old(before)
    subscription_notices.forget_old(before)
    sessions.forget_old()
    password_resets.forget_old()
    return f"removed {cleaned.total} messages, {cleaned.data_keys} data keys"


def _done(name: str, work: Callable[[Settings], str]) -> None:
    """Runs a job to its end, good or bad; while the worker stops it goes back to the queue instead."""
    for pause in (*_PAUSES, None):
        try:
            jobs.finished(name, work(_settings or load(role="main")))
            return
        except BrokerError as error:
            if error.permanent or pause is None:
                jobs.failed(name, str(error))
                return
        except Requeue:
            raise
        except Exception as error:
            jobs.failed(name, f"{type(error).__name__}: {error}")
            raise
        if broker.stopping.wait(pause):
            raise Requeue


def _requeue_when_stopping(what: str, done: int, total: int | None) -> None:
    """A backup may take longer than main has to stop: it starts over at main's next start."""
    if broker.stopping.is_set():
        raise Requeue
