"""What is asked of Redis before a write: may this client send so much now, and was this request here before?

The questions of a whole group go out together. Requests without a key and without a rate cost nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import ResponseError

from messagebroker.http.problems import Problem
from messagebroker.http.proxy import outage
from messagebroker.http.proxy.idempotency import CLAIM_MILLISECONDS, Claim, Entry, Idempotency, first_answer, in_use
from messagebroker.http.proxy.rate import Charge
from messagebroker.http.proxy.wire import AnswerLost, NotSent, Wire


class Asking(Protocol):
    """The part of a submission that the gate reads and settles."""

    claim: Claim | None
    charge: Charge | None
    first: Entry | None
    failure: Exception | None


class Gate:
    """Used by whoever leads the group commit, one at a time."""

    def __init__(self, wire: Wire, idempotency: Idempotency) -> None:
        self._wire = wire
        self._idempotency = idempotency
        self._in_hand: set[bytes] = set()  # tokens of claims whose requests are under way in this process

    def settle(self, group: Sequence[Asking]) -> None:
        """Gives each submission that may not be written its failure or its first answer; the others hold their claims.

        Raises:
            NotSent: Redis does not answer; nothing can have been enqueued.
        """
        commands: list[tuple[Any, ...]] = []
        for submission in group:
            if submission.charge is not None:
                commands.append(submission.charge.command())
            if submission.claim is not None:
                claim = submission.claim
                commands.append(("SET", claim.redis_key, claim.token, "NX", "PX", CLAIM_MILLISECONDS))
                commands.append(("GET", claim.redis_key))
        if not commands:
            return
        try:
            answers = iter(self._wire.ask(commands))
        except AnswerLost as error:
            raise NotSent from error
        refused = []
        for submission in group:
            failure = None
            if submission.charge is not None:
                failure = _charged(submission.charge, next(answers))
            if submission.claim is not None:
                claimed = self._claimed(submission.claim, next(answers), next(answers))
                if failure is not None and claimed is None:
                    refused.append(submission)
                elif isinstance(claimed, Entry):
                    submission.first = claimed
                    continue
                failure = failure or claimed
            submission.failure = failure
        self.withdraw(refused)

    def release(self, group: Sequence[Asking]) -> None:
        """These are no longer under way. A claim that stays in Redis can be taken over by a repetition of its request."""
        self._in_hand.difference_update(submission.claim.token for submission in group if submission.claim is not None)

    def withdraw(self, group: Sequence[Asking]) -> None:
        """Frees the keys of requests that were refused after they had claimed them."""
        self.release(group)
        keys = [submission.claim.redis_key for submission in group if submission.claim is not None]
        if keys:
            try:
                self._wire.ask([("DEL", *keys)])
            except (NotSent, AnswerLost):
                return  # they lapse after 30 seconds, or are taken over

    def _claimed(self, claim: Claim, answer: Any, value: Any) -> Problem | Entry | None:
        """None: the key is ours now."""
        if isinstance(value, ResponseError) and "WRONGTYPE" in str(value):
            value = b""  # damaged, like a text that cannot be read: the MULTI puts the answer in its place
        for reply in (answer, value):
            if isinstance(reply, Exception):
                return outage.refused(reply)
        if answer is None:
            if value is None:
                return in_use()  # it lapsed between the two commands
            if self._idempotency.is_ours(value) and value not in self._in_hand:
                claim.token = value  # left over from a try whose write failed
            else:
                try:
                    first = first_answer(value, claim)
                except Problem as problem:
                    return problem
                if first is not None:
                    return first
        self._in_hand.add(claim.token)
        return None


def _charged(charge: Charge, reply: Any) -> Problem | None:
    return outage.refused(reply) if isinstance(reply, Exception) else charge.settle(reply)
