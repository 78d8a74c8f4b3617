"""What the system knows of itself."""

from __future__ import annotations

from datetime import timedelta

import peewee as pw

from messagebroker.db.fields import AsciiField, UtcField
from messagebroker.db.models.base import Base

BEAT_SECONDS = 5.0
FRESH = timedelta(seconds=3 * BEAT_SECONDS)
"""A process renews its heartbeat that often; one whose row is older than FRESH has gone."""


class PolicyNumber(Base):
    """One row: the number of the policy snapshot that was published last."""

    id = pw.IntegerField(primary_key=True)
    number = pw.BigIntegerField()

    class Meta:
        table_name = "policy_number"


class PeriodicJob(Base):
    """When each periodic job is due; the claim on this row decides which scheduler sends it."""

    name = AsciiField(max_length=64, primary_key=True)
    due_at = UtcField()
    last_sent_at = UtcField(null=True)
    last_finished_at = UtcField(null=True)
    last_result = pw.TextField(null=True)

    class Meta:
        table_name = "periodic_jobs"


class Heartbeat(Base):
    """A running process of a role."""

    instance = AsciiField(max_length=64, primary_key=True)  # UUID of the process
    role = AsciiField(max_length=20, index=True)
    host = pw.CharField(max_length=255)
    pid = pw.IntegerField()
    started_at = UtcField()
    seen_at = UtcField()
    leading_until = UtcField(null=True)  # schedulers: the lease of the one that leads
    details = pw.TextField(null=True)  # JSON: workers tell what they do

    class Meta:
        table_name = "heartbeats"
