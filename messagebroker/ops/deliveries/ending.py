"""What attempts leave behind: their rows, deliveries' next states, messages' statuses. A batch is one transaction."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, get_args

import msgspec

from messagebroker.db.bulk import insert, literals
from messagebroker.db.models import Delivery, DeliveryAttempt
from messagebroker.db.writing import writing
from messagebroker.ops import ids, metrics
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.channels.channel import ANSWER_BYTES, Kind, Outcome
from messagebroker.ops.clock import micros
from messagebroker.ops.deliveries.claimed import Pair, among
from messagebroker.ops.deliveries.following import follow
from messagebroker.ops.due import database_now, expired, lock_messages
from messagebroker.ops.fingerprints import fingerprint
from messagebroker.ops.subscription_failures import Attempts, attempted

for _channel in CHANNELS:  # a rate needs a 0 to begin with
    metrics.DELIVERED_AFTER.labels(_channel)
    for _kind in get_args(Kind):
        metrics.DELIVERY_ATTEMPTS.labels(_channel, _kind)

JITTER = 0.2
"""Of a pause between attempts, both ways: what failed together does not come back together."""

_ERROR_CHARACTERS = 500
_ATTEMPT_COLUMNS = (
    "message_id", "subscription_id", "number", "started_at", "duration_ms", "outcome", "code", "error", "request", "asked_by",
    "answer",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Result:
    """One attempt, ended."""

    message_id: bytes
    subscription_id: int
    channel: str
    holder: bytes
    outcome: Outcome
    started_at: datetime
    duration_ms: int
    schedule: tuple[float, ...]
    sealed_answer: bytes | None = None  # of `outcome.answer`
    counts: bool = True  # for or against the destination: not where the worker failed
    keeps_holder: bool = False  # so that a client that asks twice is answered twice

    @property
    def pair(self) -> Pair:
        """The delivery."""
        return self.message_id, self.subscription_id


def end(results: Sequence[Result]) -> set[Pair]:
    """Writes them down; those deliveries that are no longer the holder's keep their state, which somebody else decides.

    Returns:
        The deliveries that were changed.

    Raises:
        Unavailable: the database does not answer; repeating it is safe, but for the attempts' rows.
    """
    ordered = sorted(results, key=lambda result: result.pair)
    if not ordered:
        return set()
    with writing():
        there = lock_messages({result.message_id for result in ordered})
        ordered = [result for result in ordered if result.message_id in there]
        if not ordered:
            return set()
        now = database_now()
        before = _held(ordered)
        changed = [result for result in ordered if result.pair in before]
        _write_attempts(ordered, before)
        delivered = [result for result in changed if result.outcome.kind == "delivered"]
        _write_delivered(delivered, now)
        undelivered = [result for result in changed if result.outcome.kind != "delivered"]
        over = expired({result.message_id for result in undelivered})
        for result in undelivered:
            _write_undelivered(result, before[result.pair].attempts + 1, now, is_over=result.message_id in over)
        statuses = follow({result.message_id for result in ordered}, Counter(result.message_id for result in ordered))
        _count_for_subscriptions(ordered)
    for status, number in statuses.items():
        metrics.STATUS_CHANGES.labels(status).inc(number)
    for result in ordered:
        metrics.DELIVERY_ATTEMPTS.labels(result.channel, result.outcome.kind).inc()
    for result in delivered:
        waited = (now - ids.drawn_at(result.message_id)).total_seconds()  # ids are drawn when messages are accepted
        metrics.DELIVERED_AFTER.labels(result.channel).observe(max(0.0, waited))
    return {result.pair for result in changed}


@dataclass(frozen=True)
class _Before:
    """Of a delivery: how many attempts had ended, and who asked for this one (None: the schedule)."""

    attempts: int = -1
    asked_by: str | None = None


def _held(results: Sequence[Result]) -> dict[Pair, _Before]:
    """Those that are still the holder's."""
    columns = (Delivery.message, Delivery.subscription_id, Delivery.holder, Delivery.attempts, Delivery.asked_by)
    query: Any = Delivery.select(*columns).where(among(result.pair for result in results), Delivery.status == "processing")
    mine = {result.pair: result.holder for result in results}
    found = {(bytes(message), number): (holder, _Before(*rest)) for message, number, holder, *rest in query.tuples()}
    return {pair: before for pair, (holder, before) in found.items() if holder is not None and bytes(holder) == mine[pair]}


def _write_delivered(results: Sequence[Result], now: datetime) -> None:
    fields = {
        "status": "delivered", "due_at": None, "ended_at": now, "fingerprint": None, "error": None, "asked_by": None,
    }  # fmt: skip
    for keeps_holder, left in ((False, {"holder": None}), (True, {})):
        pairs = [result.pair for result in results if result.keeps_holder == keeps_holder]
        if pairs:
            Delivery.update(**fields, **left, attempts=Delivery.attempts + 1).where(among(pairs)).execute()


def _write_undelivered(result: Result, attempts: int, now: datetime, *, is_over: bool) -> None:
    outcome = result.outcome
    error = (outcome.error or "failed without a reason")[:_ERROR_CHARACTERS]
    pause = pause_after(attempts, result.schedule, outcome)
    fields: dict[str, Any] = {
        "attempts": attempts,
        "asked_by": None,
        "error": error,
        "fingerprint": fingerprint(result.channel, outcome.code, error),
        **({} if result.keeps_holder else {"holder": None}),
    }
    if pause is None:
        fields |= {"status": "failed", "due_at": None, "ended_at": now, "move_id": None}
    elif is_over:
        fields |= {"status": "expired", "due_at": None, "ended_at": now}
    else:
        fields |= {"status": "pending", "due_at": now + timedelta(seconds=pause)}
    Delivery.update(**fields).where(among([result.pair])).execute()


def pause_after(attempts: int, schedule: Sequence[float], outcome: Outcome) -> float | None:
    """Seconds until the next attempt; None: there is none."""
    if outcome.kind != "retry" or attempts >= len(schedule):
        return None
    factor = 1.0 if outcome.together else random.uniform(1 - JITTER, 1 + JITTER)  # nosec B311 # noqa: S311 - nobody gains by guessing it
    return max(schedule[attempts] * factor, outcome.retry_after or 0.0)


def _write_attempts(results: Sequence[Result], before: Mapping[Pair, _Before]) -> None:
    """As one text: they are the most of what a delivery leaves behind."""
    once, instant = literals().once, literals().moment
    rows = []
    for result in results:
        outcome, answer, held = result.outcome, result.sealed_answer, before.get(result.pair, _Before())
        error = outcome.error[:_ERROR_CHARACTERS] if outcome.error else None
        request = msgspec.json.encode(outcome.request).decode() if outcome.request else None
        texts = ",".join("NULL" if text is None else once(text) for text in (error, request, held.asked_by))
        rows.append(
            f"(X'{result.message_id.hex()}',{result.subscription_id:d},{held.attempts + 1:d},"
            f"{instant(micros(result.started_at))},{result.duration_ms:d},'{outcome.kind}',"
            f"{'NULL' if outcome.code is None else outcome.code},{texts},"
            + ("NULL)" if answer is None else f"X'{answer.hex()}')")
        )
    insert(DeliveryAttempt, _ATTEMPT_COLUMNS, rows)


def _count_for_subscriptions(results: Sequence[Result]) -> None:
    counted: dict[int, list[Outcome]] = defaultdict(list)
    for result in results:
        if result.counts:
            counted[result.subscription_id].append(result.outcome)
    attempted({subscription: _attempts(outcomes) for subscription, outcomes in counted.items()})


def _attempts(outcomes: Sequence[Outcome]) -> Attempts:
    errors = [outcome for outcome in outcomes if outcome.kind != "delivered" and not outcome.reached]
    return Attempts(
        ok=len(outcomes) - len(errors),
        failed=len(errors),
        error=errors[-1].error if errors else None,
        gone=any(outcome.kind == "gone" for outcome in errors),
    )


def shortened(outcome: Outcome) -> Outcome:
    """With no more of the answer than is kept."""
    return replace(outcome, answer=outcome.answer[:ANSWER_BYTES])
