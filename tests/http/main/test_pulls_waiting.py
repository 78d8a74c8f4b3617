"""Pulls that wait, over real TLS: what ends their waiting, in which order they are served, and what they never get."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from support.cast import Cast
from support.certs import Authority, Issued
from support.pull_server import Main, bodies, pull_of
from support.pulled import Pulled, status_of, subscribe
from support.serving import eventually

from messagebroker.db.models import Subscription
from messagebroker.errors import Unavailable
from messagebroker.http.main import waiting as waiting_room
from messagebroker.http.main.pull_watch import LOOK_SECONDS
from messagebroker.ops import pulls

pytestmark = pytest.mark.clocked

Room = Callable[..., Main]
at_leisure = pytest.mark.tier("processes")
of_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # the claims' own tests are in tests/ops


@pytest.fixture
def pulled(cast: Cast) -> Pulled:
    return Pulled(cast.settings)


@pytest.fixture
def main(cast: Cast, authority: Authority) -> Iterator[Room]:
    with ExitStack() as stack:
        yield lambda **options: Main(cast, stack, authority, **options)


@of_sqlite
def test_who_waits_gets_what_comes(main: Room, pulled: Pulled, acme: Issued) -> None:
    here, number = main(), subscribe("acme")
    connection = here.waiting(number, acme)
    time.sleep(LOOK_SECONDS)
    pulled.put(number, "at last")
    began = time.monotonic()
    assert bodies(connection.answer()) == ["at last"]
    assert time.monotonic() - began < 0.5
    assert here.room.number() == 0
    connection.send(pull_of(number, 0))
    assert bodies(connection.answer()) == []


@pytest.mark.parametrize(("most", "connections", "room"), [(1000, 2000, 1000), (1000, 480, 240), (20, 480, 20)])
def test_who_waits_leaves_connections_to_others(most: int, connections: int, room: int) -> None:
    waiting = waiting_room.Waiting(most)
    waiting.leave_room(connections)
    assert waiting.most == room


@of_sqlite
def test_who_left_gets_nothing_and_delays_nothing(main: Room, pulled: Pulled, acme: Issued) -> None:
    here, number = main(), subscribe("acme")
    gone, there = here.waiting(number, acme), here.waiting(number, acme)
    gone.sock.close()
    pulled.put(number, "for who is there")
    assert bodies(there.answer()) == ["for who is there"]
    assert here.room.number() == 0


@of_sqlite
def test_waiting_holds_no_thread_and_has_an_end(main: Room, monkeypatch: pytest.MonkeyPatch, acme: Issued) -> None:
    """Twelve wait in a server of one thread; who comes when the room is full is answered at once."""
    monkeypatch.setattr(waiting_room, "MOST_OF_CLIENT", 12)
    here, number = main(threads=1, most=12), subscribe("acme")
    for _ in range(12):
        here.waiting(number, acme)
    with here.serving.connect(acme) as connection:
        began = time.monotonic()
        connection.send(pull_of(number, 10))
        answer = connection.answer()
        assert (bodies(answer), answer.headers["retry-after"]) == ([], "1")
        assert connection.ask("/health", method="GET").status == 200
        assert time.monotonic() - began < 1


@at_leisure
@of_sqlite
def test_in_the_order_in_which_they_came(main: Room, pulled: Pulled, acme: Issued) -> None:
    here, number = main(), subscribe("acme")
    first, second, third = (here.waiting(number, acme) for _ in range(3))
    for body in ("a", "b"):
        pulled.put(number, body)
    # whoever came first takes all that is there: ten at most
    assert bodies(first.answer()) in (["a", "b"], ["a"])
    pulled.put(number, "c")
    assert bodies(second.answer())
    assert here.room.number(number) <= 1
    pulled.put(number, "d")
    assert bodies(third.answer())


@at_leisure
@of_sqlite
def test_a_pull_that_comes_later_does_not_overtake(
    main: Room, pulled: Pulled, acme: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, number = main(), subscribe("acme")
    first = here.waiting(number, acme)
    with monkeypatch.context() as patch:
        patch.setattr(pulls, "with_due", lambda numbers: [])  # nobody has seen yet what comes
        time.sleep(LOOK_SECONDS)
        pulled.put(number, "only one")
        late = here.waiting(number, acme)
    assert bodies(first.answer()) == ["only one"]
    assert eventually(lambda: here.room.number(number) == 1)
    late.sock.close()


@at_leisure
@of_sqlite
def test_waiting_ends_empty(main: Room, acme: Issued) -> None:
    connection = main().waiting(subscribe("acme"), acme, seconds=0.3)
    began = time.monotonic()
    answer = connection.answer()
    assert (bodies(answer), "retry-after" in answer.headers) == ([], False)
    assert time.monotonic() - began < 1


@at_leisure
@of_sqlite
@pytest.mark.parametrize("how", ["revoked", "another's", "disabled", "removed"])
def test_who_may_not_any_more_gets_nothing(main: Room, cast: Cast, pulled: Pulled, acme: Issued, how: str) -> None:
    here, number = main(), subscribe("acme")
    connection = here.waiting(number, acme, seconds=1)
    now = datetime.now(UTC)
    if how == "revoked":
        cast.watcher.refusal = lambda peer: "revoked"  # type: ignore[method-assign]
    else:
        changes = {"another's": {"client": "other"}, "disabled": {"disabled_at": now}, "removed": {"removed_at": now}}[how]
        Subscription.update(**changes).where(Subscription.id == number).execute()
    stored = pulled.put(number)
    answer = connection.answer()
    if how == "revoked":
        assert (answer.status, answer.json()["type"]) == (403, "urn:messagebroker:problem:certificate-revoked")
    elif how == "another's":
        assert answer.status == 404
    else:
        assert bodies(answer) == []
    assert status_of(stored) == ("pending", "pending")


@at_leisure
@of_sqlite
def test_a_client_has_ten_places(main: Room, acme: Issued) -> None:
    here, number, other = main(), subscribe("acme"), subscribe("other-one")
    for _ in range(waiting_room.MOST_OF_CLIENT):
        here.waiting(number, acme)
    with here.serving.connect(acme) as connection:
        connection.send(pull_of(number, 10))
        assert connection.answer().headers["retry-after"] == "1"
    here.waiting(other, here.client("other-one"))


@at_leisure
@of_sqlite
def test_a_stop_answers_everybody_at_once(main: Room, acme: Issued) -> None:
    here, number = main(), subscribe("acme")
    connections = [here.waiting(number, acme, seconds=30) for _ in range(3)]
    assert here.serving.halt() < 5
    assert [bodies(connection.answer()) for connection in connections] == [[]] * 3


@at_leisure
@of_sqlite
def test_no_more_than_a_quarter_of_the_threads_take_at_once(
    main: Room, pulled: Pulled, acme: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, numbers = main(threads=8), [subscribe("acme") for _ in range(6)]
    connections = [here.waiting(number, acme) for number in numbers]
    taking, most, lock = 0, 0, threading.Lock()
    real = pulls.take

    def slow(*args: Any, **options: Any) -> Any:
        nonlocal taking, most
        with lock:
            taking += 1
            most = max(most, taking)
        time.sleep(0.1)
        with lock:
            taking -= 1
        return real(*args, **options)

    monkeypatch.setattr(pulls, "take", slow)
    for number in numbers:
        pulled.put(number)
    assert [bodies(connection.answer()) for connection in connections] == [["hello"]] * 6
    assert most == 2


@at_leisure
@of_sqlite
def test_an_outage_of_the_database_ends_no_waiting(
    main: Room, pulled: Pulled, acme: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, number = main(), subscribe("acme")
    connection = here.waiting(number, acme)

    def out(*args: Any, **options: Any) -> Any:
        raise Unavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(pulls, "take", out)
        pulled.put(number, "after the outage")
        time.sleep(3 * LOOK_SECONDS)
        assert here.room.number() <= 1
    assert bodies(connection.answer()) == ["after the outage"]
