"""One submit from decoded drafts to its answer: policy, admission, sealing, idempotency, commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import redis
from redis.exceptions import RedisError

from messagebroker.db.models import PRIORITIES
from messagebroker.http.problems import Problem
from messagebroker.http.proxy import answers, headers, outage
from messagebroker.http.proxy.admission import Admission, Durability
from messagebroker.http.proxy.committer import Committer, Submission
from messagebroker.http.proxy.draw import Draw
from messagebroker.http.proxy.faults import NUL_ESCAPE
from messagebroker.http.proxy.idempotency import Claim, Entry, Idempotency, first_answer
from messagebroker.http.proxy.intake import ONCE_RIGHT, Intake, Taken
from messagebroker.http.proxy.rate import Charge
from messagebroker.http.proxy.topics import Topics, TopicsInForce
from messagebroker.ops import clock
from messagebroker.ops.identity import Peer
from messagebroker.ops.metrics import ACCEPTED, REFUSED
from messagebroker.ops.policy_watcher import PolicyWatcher
from messagebroker.ops.snapshot import ClientPolicy

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Request:
    """A submit whose body is decoded."""

    environ: dict[str, Any]
    raw: bytes
    drafts: Sequence[Any]  # each an AnyDraft, or the Problem of one that could not be decoded
    form: str  # native, established or cloudevents: for metrics
    is_batch: bool
    essence: bytes = b""  # what matters of the request beside its body, for idempotency


@dataclass(slots=True)
class Answer:
    """What goes back."""

    body: bytes
    is_partial: bool = False  # some items of the batch were refused
    accepted: answers.Accepted | None = None  # of a single message
    headers: dict[str, str] | None = None


@dataclass(slots=True)
class Pending:
    """What is true once Redis has acknowledged `submission`."""

    submission: Submission
    request: Request
    client: ClientPolicy
    answer: Answer
    priorities: list[int]


class Reception:
    """Everything between a decoded body and the answer."""

    def __init__(
        self,
        *,
        watcher: PolicyWatcher,
        admission: Admission,
        intake: Intake,
        idempotency: Idempotency,
        committer: Committer,
        client: redis.Redis,
        is_closed: bool = False,
    ) -> None:
        self._watcher = watcher
        self._admission = admission
        self._intake = intake
        self._idempotency = idempotency
        self.committer = committer
        self._redis = client
        self._is_closed = is_closed  # MAINTENANCE_MODE of this process
        self._topics = TopicsInForce()
        self._counters: dict[tuple[str, int], Any] = {}

    def client_of(self, peer: Peer) -> ClientPolicy:
        """What the policy says of the sender.

        Raises:
            Problem: there is no policy yet, the system is under maintenance or full, or the client is gone.
        """
        policy = self._watcher.current
        if policy is None:
            raise Problem(503, "policy-missing", "no policy has arrived yet; try again shortly", headers={"Retry-After": "1"})
        if policy.maintenance or self._is_closed:
            raise outage.maintenance()
        self._admission.check()
        client = policy.clients.get(peer.name)
        if client is None or client.disabled:
            raise Problem(403, "client-unknown", "no client of this certificate's name may send here")
        return client

    def receive(self, request: Request, client: ClientPolicy, peer: Peer) -> Pending | Answer:
        """Seals what is right of the request. What is to be committed is Pending; an Answer needs nothing more.

        Raises:
            Problem: nothing of it is taken.
        """
        environ = request.environ
        key = headers.idempotency_key(environ)
        claim = None
        if key is not None:
            essence = request.essence + b"\0" + request.raw
            claim = self._idempotency.claim(client.name, key, essence, batch=request.is_batch)
        topics = self._topics.of(self._watcher.current)
        taken = self._intake.take(
            request.drafts,
            client,
            topics.rules,
            table_key=claim.table_key if claim else None,
            correlation_id=headers.correlation_id(environ),
            traceparent=headers.traceparent(environ),
            certificate=peer.serial,
            may_hold_nul=NUL_ESCAPE in request.raw,
        )
        if taken.problems:
            first = self._known(claim) if claim and _was_right_once(taken) else None
            if first is not None:
                return self._repeated(request, client, first)
            _count_refusals(taken)
            if not request.is_batch:
                raise taken.problems[0]
        return self._sealed(request, client, taken, claim, topics)

    def concluded(self, pending: Pending) -> Answer:
        """The answer, when the submission's outcome is there.

        Raises:
            Problem: nothing was taken, or nobody knows (`outcome: unknown`).
        """
        submission = pending.submission
        if submission.first is not None:
            return self._repeated(pending.request, pending.client, submission.first)
        if not submission.taken:
            raise submission.failure or outage.unknown()
        self._count(pending.request.form, pending.priorities)
        if submission.charge is not None:
            pending.answer.headers = submission.charge.headers
        return pending.answer

    def _sealed(
        self, request: Request, client: ClientPolicy, taken: Taken, claim: Claim | None, topics: Topics
    ) -> Pending | Answer:
        durability = self._admission.state.durability
        answer = _answer(request, client, taken, durability, topics)
        if not taken.records:
            return answer
        if claim is not None:
            topic = None if request.is_batch else taken.records[0].topic
            kept = answer.body if taken.problems else None
            entry = Entry(claim.digest, taken.draw.prefix, taken.draw.accepted_at, durability, topic, kept)
            self._idempotency.keep(claim, entry, self._admission.state.memory_used)
        charge = Charge(client.name, len(taken.records), client.rate) if client.rate is not None else None
        submission = Submission(taken.records, taken.key, len(request.raw), claim, charge)
        return Pending(submission, request, client, answer, taken.priorities)

    def _known(self, claim: Claim) -> Entry | None:
        """The first answer, for a request that was right when it was sent first."""
        try:
            value = self._redis.get(claim.redis_key)
        except RedisError:
            return None
        return first_answer(bytes(value), claim) if isinstance(value, bytes) else None

    def _repeated(self, request: Request, client: ClientPolicy, first: Entry) -> Answer:
        """The first answer, made once more."""
        again = {"Idempotency-Replayed": "true"}
        topics = self._topics.of(self._watcher.current)
        draw = Draw(first.accepted_at, first.prefix)
        if request.is_batch:
            if first.answer is not None:
                return Answer(first.answer, True, headers=again)
            deprecated = topics.deprecated(draft.topic or client.default_topic for draft in request.drafts)
            body = answers.batch(draw, client.name, first.durability, len(request.drafts), {}, deprecated)
            return Answer(body, headers=again)
        moment = request.drafts[0].deliver_at
        deliver_at = clock.micros(moment) if moment is not None else 0
        topic = first.topic or ""
        accepted = answers.single(
            draw,
            client.name,
            topic,
            first.durability,
            deliver_at if deliver_at > first.accepted_at else None,
            topics.deprecated([topic]),
        )
        return Answer(_encode(accepted), accepted=accepted, headers=again)

    def _count(self, form: str, priorities: list[int]) -> None:
        for number, count in enumerate(priorities):
            if count:
                counter = self._counters.get((form, number))
                if counter is None:
                    counter = self._counters[form, number] = ACCEPTED.labels(form, PRIORITIES[number])
                counter.inc(count)


def _answer(request: Request, client: ClientPolicy, taken: Taken, durability: Durability, topics: Topics) -> Answer:
    deprecated = topics.deprecated(record.topic for record in taken.records)
    if request.is_batch:
        body = answers.batch(taken.draw, client.name, durability, len(request.drafts), taken.problems, deprecated)
        return Answer(body, bool(taken.problems))
    record = taken.records[0]
    accepted = answers.single(taken.draw, client.name, record.topic, durability, record.deliver_at, deprecated)
    return Answer(_encode(accepted), accepted=accepted)


def _was_right_once(taken: Taken) -> bool:
    return any(problem.name in ONCE_RIGHT for problem in taken.problems.values())


def _count_refusals(taken: Taken) -> None:
    for problem in taken.problems.values():
        REFUSED.labels(problem.name).inc()
