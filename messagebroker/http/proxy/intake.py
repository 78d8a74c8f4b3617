"""From drafts to sealed records: the one loop that runs for every message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from messagebroker.db.models import PRIORITIES
from messagebroker.http.problems import Problem
from messagebroker.http.proxy.draw import SUFFIXES, Draw
from messagebroker.http.proxy.faults import in_words_of, invalid, refuse_nul
from messagebroker.http.proxy.topics import SCHEMA_MISMATCH, Rule
from messagebroker.http.proxy.values import Limits, instant, number_out_of_range, refuse_topic, topic_problem
from messagebroker.ops.records import Record, SealedKey
from messagebroker.ops.sealing import Sealer, sender_hash
from messagebroker.ops.snapshot import ClientPolicy

_encode = msgspec.msgpack.Encoder().encode
_PRIORITY = {name: number for number, name in enumerate(PRIORITIES)}
_TEXTS = ("body", "topic", "sender", "metadata", "client_id", "content_type")


class Taken:
    """What became of the messages of one request: sealed records, and problems by the number of their item."""

    __slots__ = ("draw", "key", "priorities", "problems", "records")

    def __init__(self, draw: Draw, key: SealedKey) -> None:
        self.draw = draw
        self.key = key
        self.records: list[Record] = []
        self.problems: dict[int, Problem] = {}
        self.priorities = [0] * len(PRIORITIES)


class Intake:
    """Checks and seals.

    Args:
        sealer: draws the data keys.
        sender_key: the HMAC key for search by sender.
        limits: sizes of one message.
    """

    def __init__(self, sealer: Sealer, sender_key: bytes, limits: Limits) -> None:
        self._sealer = sealer
        self._limits = limits
        self._sender_hash = lru_cache(maxsize=4096)(lambda sender: sender_hash(sender_key, sender))

    def take(
        self,
        drafts: Sequence[Any],
        client: ClientPolicy,
        rules: Mapping[str, Rule],
        *,
        table_key: tuple[bytes, int] | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        certificate: str | None = None,
        may_hold_nul: bool = False,
    ) -> Taken:
        """Seals what is right and names what is wrong.

        Args:
            drafts: each an AnyDraft, or the Problem of one that could not be decoded.
            client: whose messages they are, and what it may do.
            rules: of the topics whose bodies have to match a schema.
            table_key: 16 bytes that stand for the client and its key, and the number of the first item.
            correlation_id: of the request.
            traceparent: of the request, where it named one.
            certificate: the serial of the one that the sender showed.
            may_hold_nul: look into every text for NUL characters.
        """
        sealing = self._sealer.current()
        seal = sealing.seal
        key = sealing.key
        key_id = key.id
        draw = Draw()
        prefix = draw.prefix
        accepted_at = draw.accepted_at
        taken = Taken(draw, key)
        append = taken.records.append
        priorities = taken.priorities
        name = client.name
        associated = name.encode()
        patterns = client.topics
        largest = self._limits.body_bytes
        fine: str | None = None  # the topic of the message before: mostly that of the next, too
        rule: Rule | None = None  # of that topic
        for item, draft in enumerate(drafts):
            if draft.__class__ is Problem:
                taken.problems[item] = draft
                continue
            try:
                body = draft.body
                size = len(body) if body.__class__ is bytes or body.isascii() else len(body.encode())
                if size > largest:
                    self._limits.check_body(size)
                topic = draft.topic or client.default_topic
                if topic != fine:
                    wrong = topic_problem(topic, patterns)
                    if wrong is not None:
                        raise refuse_topic(wrong, topic)
                    fine = topic
                    rule = rules.get(topic)
                if rule is not None:
                    rule.check(body)
                sender = draft.sender
                metadata = draft.metadata
                deliver_at = expires_at = None
                if metadata is not None:
                    self._limits.check_metadata(metadata)
                if draft.client_id is not None and draft.client_id != name:
                    raise Problem(
                        403, "client-mismatch", "client_id names another client than the certificate", field="client_id"
                    )
                if draft.deliver_at is not None or draft.expires_at is not None:
                    deliver_at, expires_at = _times(draft, accepted_at)
                if may_hold_nul:
                    refuse_nul(draft, _TEXTS)
                priority = _PRIORITY[draft.priority]
                message_id = prefix + SUFFIXES[item]
                plain = _encode((body, sender, metadata, draft.content_type))
                append(
                    Record(
                        message_id,
                        name,
                        topic,
                        priority,
                        accepted_at,
                        size,
                        key_id,
                        seal(message_id, associated, plain),
                        deliver_at,
                        expires_at,
                        None if sender is None else self._sender_hash(sender),
                        None if table_key is None else _table_key(table_key[0], table_key[1] + item, plain, draft),
                        correlation_id,
                        traceparent or draft.traceparent,
                        certificate,
                    )
                )
                priorities[priority] += 1
            except Problem as problem:
                taken.problems[item] = in_words_of(draft, problem)
            except OverflowError:
                taken.problems[item] = number_out_of_range(draft.metadata)
        return taken


def _table_key(base: bytes, number: int, plain: bytes, draft: Any) -> bytes:
    """What the table's unique key sees of an item: half of `base`, its number, and what it says.

    The content is part of it because the table cannot answer 422: once Redis has forgotten a key, another message under
    it must be stored, not taken for a copy of the first. Times are left out: one that has passed changes its meaning.
    """
    said = f"{draft.topic or ''}\0{draft.priority}\0".encode() + plain
    return base[:8] + number.to_bytes(4, "big") + blake2b(said, digest_size=8, key=base).digest()


def _times(draft: Any, now: int) -> tuple[int | None, int | None]:
    """When to deliver (None: at once) and when to give up, in microseconds."""
    deliver_at = instant(draft.deliver_at, "deliver_at") if draft.deliver_at is not None else None
    expires_at = instant(draft.expires_at, "expires_at") if draft.expires_at is not None else None
    if expires_at is not None and deliver_at is not None and expires_at <= deliver_at:
        raise invalid("expires_at", "must be later than deliver_at")
    if expires_at is not None and expires_at <= now:
        raise Problem(422, ALREADY_EXPIRED, "expires_at: is in the past", field="expires_at")
    return (None if deliver_at is None or deliver_at <= now else deliver_at), expires_at


ALREADY_EXPIRED = "already-expired"
ONCE_RIGHT = frozenset({ALREADY_EXPIRED, SCHEMA_MISMATCH})
"""Wrong now, yet perhaps not when a request was first sent: a repetition of it still gets its first answer."""
