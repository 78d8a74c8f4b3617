"""What became of periodic jobs: a row each, beside the time at which they are due, and the metrics."""

from __future__ import annotations

from typing import Any

import structlog

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.errors import BrokerError
from messagebroker.ops import clock
from messagebroker.ops.metrics import JOBS

PeriodicJob: Any = models.PeriodicJob  # the stubs of peewee know no columns
_log = structlog.get_logger("messagebroker.jobs")


def finished(name: str, result: str) -> None:
    """A job ended well; `result` is a sentence for people."""
    _log.info("job finished", job=name, result=result)
    JOBS.labels(name, "done").inc()
    _keep(name, result)


def failed(name: str, reason: str) -> None:
    """A job ended badly."""
    _log.error("job failed", job=name, reason=reason)
    JOBS.labels(name, "failed").inc()
    _keep(name, f"failed: {reason}")


def _keep(name: str, result: str) -> None:
    try:
        with connected():
            PeriodicJob.update(last_finished_at=clock.now(), last_result=result[:2000]).where(
                PeriodicJob.name == name
            ).execute()
    except BrokerError as error:  # the database may be why the job failed
        _log.warning("a job's result was not stored", job=name, error=str(error))
