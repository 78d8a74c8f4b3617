"""The one place that asks what time it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z, exact."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(value: int) -> datetime:
    """The inverse of `micros`."""
    return _EPOCH + timedelta(microseconds=value)  # fromtimestamp ends with the year 3000 on Windows


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
