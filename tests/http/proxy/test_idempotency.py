"""Idempotency-Key: the first answer again, 409 while under way, 422 for another body."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.proxy import Proxy, problem

from messagebroker.http.proxy.idempotency import Entry, Idempotency
from messagebroker.http.proxy.wire import AnswerLost
from messagebroker.ops.redis_client import DEPTH, IDEMPOTENCY, connect
from messagebroker.settings import load

MESSAGE = {"body": "x", "topic": "t", "sender": "s"}
ENTRY = Entry(b"d" * 16, b"p" * 14, 1, "fsync", "t")


@pytest.fixture
def second(proxy: Proxy, tmp_path: Path, redis_url: str) -> Iterator[Proxy]:
    """Another proxy with the same secrets and the same Redis."""
    other = Proxy.__new__(Proxy)
    settings = load({}, data_dir=tmp_path, environment="test", redis_url=redis_url)
    other.ring, other.watcher, other.redis = proxy.ring, proxy.watcher, connect(settings)
    other.assemble(settings)
    other.parts.admission.look()
    yield other
    other.parts.committer.close()
    other.redis.close()


def test_the_same_request_gets_its_first_answer(proxy: Proxy, second: Proxy) -> None:
    first = proxy.submit(MESSAGE, Idempotency_Key="k")
    for again in (proxy, second):
        answer = again.submit(MESSAGE, Idempotency_Key="k")
        assert (answer.status_code, answer.json) == (202, first.json)
        assert answer.headers["idempotency-replayed"] == "true"
        assert answer.headers["location"] == first.headers["location"]
    assert len(proxy.queued()) == 1
    assert "idempotency-replayed" not in first.headers


def test_a_scheduled_message_and_a_changed_default_topic(proxy: Proxy) -> None:
    body = {"body": "x", "deliver_at": "2999-01-01T00:00:00Z"}
    first = proxy.submit(body, Idempotency_Key="k", client="orders")
    proxy.default_topic("orders", "orders.old")
    assert proxy.submit(body, Idempotency_Key="k", client="orders").json == first.json


def test_another_body_is_refused(proxy: Proxy) -> None:
    proxy.submit(MESSAGE, Idempotency_Key="k")
    answer = proxy.submit({**MESSAGE, "body": "y"}, Idempotency_Key="k")
    assert problem(answer) == (422, "idempotency-key-reused", "Idempotency-Key")
    assert problem(proxy.batch([MESSAGE], Idempotency_Key="k")) == (422, "idempotency-key-reused", "Idempotency-Key")
    assert len(proxy.queued()) == 1


def test_keys_belong_to_their_client(proxy: Proxy) -> None:
    proxy.submit(MESSAGE, Idempotency_Key="k")
    assert proxy.submit({**MESSAGE, "body": "y"}, Idempotency_Key="k", client="slow").status_code == 202


def test_quotes_around_a_key_do_not_matter(proxy: Proxy) -> None:
    first = proxy.submit(MESSAGE, Idempotency_Key='"k"')
    assert proxy.submit(MESSAGE, Idempotency_Key="k").json == first.json


def test_another_proxys_claim_is_a_409(proxy: Proxy, second: Proxy) -> None:
    claim = claim_of(second, MESSAGE)
    second.redis.set(claim.redis_key, claim.token)
    answer = proxy.submit(MESSAGE, Idempotency_Key="k")
    assert problem(answer) == (409, "idempotency-key-in-use", "Idempotency-Key")
    assert answer.headers["retry-after"] == "1"
    assert proxy.queued() == []


def test_a_claim_left_over_by_a_failed_write_of_ours_is_taken_over(proxy: Proxy) -> None:
    claim = claim_of(proxy, MESSAGE)
    proxy.redis.set(claim.redis_key, claim.token, px=30_000)
    assert proxy.submit(MESSAGE, Idempotency_Key="k").status_code == 202
    assert len(proxy.queued()) == 1


def test_many_at_once_are_taken_once(proxy: Proxy, second: Proxy) -> None:
    answers: list[Any] = []

    def send(one: Proxy) -> None:
        answers.append(one.submit(MESSAGE, Idempotency_Key="k"))

    threads = [threading.Thread(target=send, args=(one,)) for one in (proxy, second) * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json["message_id"] for answer in answers if answer.status_code == 202}) == 1
    assert len(proxy.queued()) == 1


def test_a_batch_gets_its_first_answer(proxy: Proxy) -> None:
    messages = [MESSAGE, {"body": ""}, MESSAGE]
    first = proxy.batch(messages, Idempotency_Key="k")
    again = proxy.batch(messages, Idempotency_Key="k")
    assert (first.status_code, again.status_code) == (207, 207)
    assert again.json == first.json
    whole = proxy.batch([MESSAGE] * 3, Idempotency_Key="k2")
    assert proxy.batch([MESSAGE] * 3, Idempotency_Key="k2").json == whole.json
    assert len(proxy.queued()) == 5


def test_items_have_keys_of_their_own_in_the_table(proxy: Proxy) -> None:
    proxy.batch([MESSAGE] * 2, Idempotency_Key="k")
    proxy.submit(MESSAGE, Idempotency_Key="k#1")
    proxy.submit(MESSAGE, Idempotency_Key="other")
    keys = [record.idempotency_key for record in proxy.queued()]
    assert all(key is not None and len(key) == 20 for key in keys)
    assert len(set(keys)) == 3
    assert keys[1] == keys[2]  # item 1, sent again by itself: the table makes it an alias


def test_a_message_that_expired_since_still_gets_its_answer(proxy: Proxy) -> None:
    body = {"body": "x", "expires_at": (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat()}
    first = proxy.submit(body, Idempotency_Key="k")
    assert first.status_code == 202
    time.sleep(0.35)
    assert proxy.submit(body, Idempotency_Key="k").json == first.json
    assert problem(proxy.submit(body, Idempotency_Key="k2")) == (422, "already-expired", "expires_at")
    assert proxy.submit({"body": "y"}, Idempotency_Key="k2").status_code == 202


def test_a_refused_request_leaves_its_key_free(proxy: Proxy) -> None:
    assert proxy.submit({"body": ""}, Idempotency_Key="k").status_code == 422
    assert proxy.submit(MESSAGE, Idempotency_Key="k").status_code == 202


def test_an_answer_is_kept_for_a_day_and_shorter_when_memory_runs_low(proxy: Proxy) -> None:
    proxy.submit(MESSAGE, Idempotency_Key="k")
    [key] = proxy.redis.keys(f"{IDEMPOTENCY}:*")
    assert 86_000 < proxy.redis.ttl(key) <= 86_400
    claim = claim_of(proxy, MESSAGE)
    idempotency_of(proxy).keep(claim, ENTRY, 0.6)
    assert claim.ttl == 300


def test_an_entry_is_small(proxy: Proxy) -> None:
    proxy.batch([MESSAGE] * 1000, Idempotency_Key="k")
    [key] = proxy.redis.keys(f"{IDEMPOTENCY}:*")
    assert proxy.redis.strlen(key) < 100


def idempotency_of(proxy: Proxy) -> Idempotency:
    return proxy.parts.committer._gate._idempotency


def claim_of(proxy: Proxy, message: Any, key: str = "k") -> Any:
    return idempotency_of(proxy).claim("acme", key, b"\0" + msgspec.json.encode(message), batch=False)


def test_keys_that_only_look_like_a_batch_items_are_keys_of_their_own(proxy: Proxy) -> None:
    """`order#1` and `order#01` are two messages; under one key in the table the second would be taken and never stored."""
    keys = [idempotency_of(proxy).claim("acme", key, b"", batch=False).table_key for key in ("k#1", "k#01", "k#001", "k#", "k")]
    assert len({table_hash + item.to_bytes(4, "big") for table_hash, item in keys}) == 5


UNREADABLE = b"D" + msgspec.msgpack.encode([b"", b"", 1, "fsync", "t"])


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 21, b"C", b"C" + b"x" * 40, b"D", b"Dgarbage", b"D\xa1\xff", UNREADABLE])
def test_an_entry_that_cannot_be_read_is_replaced(proxy: Proxy, damage: bytes) -> None:
    """The table's unique key keeps the message from being stored twice."""
    proxy.submit(MESSAGE, Idempotency_Key="k")
    [key] = proxy.redis.keys(f"{IDEMPOTENCY}:*")
    proxy.redis.set(key, damage)
    again = proxy.submit(MESSAGE, Idempotency_Key="k")
    assert again.status_code == 202
    assert proxy.submit(MESSAGE, Idempotency_Key="k").json == again.json
    assert len({record.idempotency_key for record in proxy.queued()}) == 1


def test_an_entry_of_another_type_is_replaced(proxy: Proxy) -> None:
    proxy.redis.lpush(claim_of(proxy, MESSAGE).redis_key, "x")
    first = proxy.submit(MESSAGE, Idempotency_Key="k")
    assert first.status_code == 202
    assert proxy.submit(MESSAGE, Idempotency_Key="k").json == first.json
    assert len(proxy.queued()) == 1


def test_another_message_under_a_key_that_redis_forgot_is_no_copy(proxy: Proxy) -> None:
    """The table could only drop it, after a 202: so it must have a key of its own there."""
    proxy.submit(MESSAGE, Idempotency_Key="k")
    for forgotten in proxy.redis.keys(f"{IDEMPOTENCY}:*"):
        proxy.redis.delete(forgotten)
    for other in ({**MESSAGE, "body": "y"}, {**MESSAGE, "topic": "elsewhere"}, {**MESSAGE, "priority": "low"}, MESSAGE):
        assert proxy.submit(other, Idempotency_Key="k").status_code == 202
        for forgotten in proxy.redis.keys(f"{IDEMPOTENCY}:*"):
            proxy.redis.delete(forgotten)
    keys = [record.idempotency_key for record in sorted(proxy.queued(), key=lambda record: record.id)]
    assert keys[0] == keys[4]
    assert len(set(keys)) == 4


@pytest.mark.parametrize("key", ["messagebroker:normal", "messagebroker:normal.msgs", DEPTH])
def test_no_answer_is_kept_for_what_was_not_enqueued(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """A damaged queue, and an answer that gets lost: the repetition must not be told that its message waits."""
    wire: Any = proxy.parts.committer._wire
    ask = wire.ask

    def lose(commands: Any) -> Any:
        answers = ask(commands)
        if commands[0] == ("MULTI",):
            raise AnswerLost
        return answers

    proxy.redis.set(key, "x")
    with monkeypatch.context() as lossy:
        lossy.setattr(wire, "ask", lose)
        assert proxy.submit(MESSAGE, Idempotency_Key="k").json["outcome"] == "unknown"
    proxy.redis.delete(key)
    again = proxy.submit(MESSAGE, Idempotency_Key="k")
    assert (again.status_code, len(proxy.queued())) == (202, 1)


def test_the_order_of_an_events_headers_makes_no_other_message(proxy: Proxy) -> None:
    """To the table either; Redis has forgotten the key."""
    event = {"ce_specversion": "1.0", "ce_id": "1", "ce_type": "t", "ce_source": "s", "Idempotency_Key": "k"}
    for headers in (event, dict(reversed(event.items()))):
        proxy.post("/api/v1/messages", b"x", content_type="text/plain", **headers)
        proxy.redis.delete(*proxy.redis.keys(f"{IDEMPOTENCY}:*"))
    first, second = proxy.queued()
    assert first.idempotency_key == second.idempotency_key
