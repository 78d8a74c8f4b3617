from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import peewee as pw
import pytest
from support import dead
from support.cast import TEST, audited
from support.dead import DOWN, NOW, REFUSED, fail, later, statuses

from messagebroker.actors.poller import Poller
from messagebroker.db import models
from messagebroker.db.writing import give_up_connection
from messagebroker.errors import NotFound, Refused, Unavailable
from messagebroker.ops import clock, dead_letter_moves, dead_letter_pieces, dead_letter_steps, ids
from messagebroker.ops.channels.channel import Outcome
from messagebroker.ops.dead_letter_moves import CountChanged, MoveView, NothingSelected, UndoOver, preview, purge, retry, undo
from messagebroker.ops.dead_letter_pieces import advance
from messagebroker.ops.dead_letter_selection import Selection
from messagebroker.ops.deliveries.claiming import claim_chosen
from messagebroker.ops.deliveries.ending import Result, end

pytestmark = pytest.mark.clocked

Delivery: Any = models.Delivery
Message: Any = models.Message
Moved: Any = models.DeadLetterMoved
EVERYTHING = Selection(all=True)


@pytest.fixture(autouse=True)
def _fresh(database: pw.Database) -> Iterator[None]:
    yield
    give_up_connection()


@pytest.fixture
def shop() -> int:
    return dead.subscription("shop")


def at_once(selection: Selection = EVERYTHING, **more: Any) -> MoveView:
    """A retry that no rate holds up."""
    return retry(selection, TEST, **{"rate": 10_000, **more})


def purged(selection: Selection = EVERYTHING, confirm: int = 1000) -> MoveView:
    return purge(selection, TEST, confirm=confirm, reason="the shop is closed")


def test_a_preview_counts_and_says_what_could_not_be_retried(shop: int) -> None:
    fail(3, shop)
    fail(2, dead.subscription("off", disabled_at=NOW))
    fail(1, dead.subscription("gone", removed_at=NOW))
    found = preview(EVERYTHING)
    assert (found.count, found.not_retryable, found.subscriptions) == (6, 3, 3)
    assert preview(Selection(subscription_id=shop)).count == 3
    assert preview(Selection(fingerprint=REFUSED)).count == 0
    assert preview(Selection(until=NOW)).count == 0
    assert preview(Selection(since=NOW - timedelta(seconds=1), fingerprint=DOWN)).count == 6


@pytest.mark.parametrize(
    "wrong",
    [
        Selection(),
        Selection(all=True, subscription_id=1),
        Selection(message_id="7"),
        Selection(fingerprint="' OR 1=1 --"),
    ],
)
def test_a_vague_or_wrong_selection_is_refused(wrong: Selection) -> None:
    for ask in (preview, lambda chosen: retry(chosen, TEST), lambda chosen: purge(chosen, TEST, confirm=1, reason="x")):
        with pytest.raises(Refused):
            ask(wrong)


def test_a_retry_keeps_id_and_time_and_history_and_begins_the_schedule_again(shop: int) -> None:
    [message] = fail(1, shop, crashes=3)
    models.DeliveryAttempt.insert(
        message=message, subscription_id=shop, number=8, started_at=NOW, duration_ms=5, outcome="failed", error="no answer"
    ).execute()
    before = Message.get()
    move = at_once(reason="the shop is open again")
    assert (move.total, move.moved, move.state) == (1, 0, "running")
    assert advance() == 1
    row, after = Delivery.get(), Message.get()
    assert (row.status, row.attempts, row.crashes, row.ended_at, row.move_id) == ("pending", 0, 0, None, move.id)
    assert row.due_at <= clock.now() + timedelta(seconds=1)
    assert (bytes(after.id), after.created_at, after.status) == (bytes(before.id), before.created_at, "pending")
    assert models.DeliveryAttempt.select().count() == 1
    found = dead_letter_moves.find(move.id)
    assert (found.state, found.moved, found.reason) == ("done", 1, "the shop is open again")
    [entry] = audited("dead_letters.retry")
    assert (entry.actor, entry.object_type, entry.object_id) == ("cli:test", "dead_letters", str(move.id))


def test_a_message_that_expires_does_so_after_a_retry_too(shop: int) -> None:
    fail(1, shop)
    expires = clock.now() + timedelta(days=1)
    Message.update(expires_at=expires).execute()
    at_once()
    advance()
    assert Message.get().due_at == expires


def test_what_has_expired_is_not_retried_but_stays_a_dead_letter(shop: int) -> None:
    over, alive = fail(3, shop)[:2], fail(2, shop)
    fail(1, dead.subscription("off", disabled_at=NOW))
    Message.update(expires_at=clock.now() - timedelta(hours=1)).where(Message.id << over).execute()
    Message.update(expires_at=clock.now() + timedelta(hours=1)).where(Message.id << alive).execute()
    found = preview(EVERYTHING)
    assert (found.count, found.not_retryable) == (6, 3)
    assert preview(Selection(message_id=ids.text(over[0]))).not_retryable == 1
    assert preview(Selection(subscription_id=shop, since=NOW - timedelta(hours=1), fingerprint=DOWN)).not_retryable == 2
    move = at_once()
    assert move.total == 3
    advance()
    assert dead_letter_moves.find(move.id).moved == 3
    assert statuses() == {"failed": 3, "pending": 3}
    assert {row.status for row in Delivery.select().where(Delivery.message << over)} == {"failed"}
    with pytest.raises(NothingSelected, match="have expired"):
        at_once()
    purged()
    advance()
    assert statuses() == {"cancelled": 3, "pending": 3}, "they can be purged"


def test_only_what_was_selected_is_retried(shop: int) -> None:
    other = dead.subscription("other")
    fail(2, shop, DOWN)
    fail(3, shop, REFUSED)
    fail(4, other, REFUSED)
    at_once(Selection(subscription_id=shop, fingerprint=REFUSED))
    advance()
    pending = Delivery.select().where(Delivery.status == "pending")
    assert {(row.subscription_id, row.fingerprint) for row in pending} == {(shop, REFUSED)}
    assert statuses() == {"pending": 3, "failed": 6}


def test_one_message_can_be_retried(shop: int) -> None:
    first, _ = fail(2, shop)
    assert at_once(Selection(message_id=ids.text(first))).total == 1
    advance()
    assert [bytes(row.message_id) for row in Delivery.select().where(Delivery.status == "pending")] == [first]


def test_what_fails_again_is_not_retried_by_the_same_move(shop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go round for ever."""
    monkeypatch.setattr(dead_letter_pieces, "PIECE", 2)
    messages = fail(4, shop)
    at_once()
    advance(0)  # one piece
    assert statuses() == {"pending": 2, "failed": 2}
    soon = clock.now() + timedelta(seconds=1)
    again = {"status": "failed", "ended_at": soon, "move_id": None, "fingerprint": "f" * 16}  # the move has not come there yet
    Delivery.update(**again).where(Delivery.message << messages[:2]).execute()
    for _ in range(4):
        later(1, 2)
        advance()
    assert Moved.select().count() == 4
    assert statuses() == {"pending": 2, "failed": 2}


def test_a_clock_that_was_set_back_sends_nothing_round(shop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter_pieces, "PIECE", 2)
    messages = fail(3, shop)
    move = at_once()
    advance(0)
    again = {"status": "failed", "ended_at": NOW, "move_id": None, "fingerprint": "f" * 16}
    Delivery.update(**again).where(Delivery.message << messages[:2]).execute()
    for _ in range(4):
        later(move.id, 2)
        advance()
    assert statuses() == {"failed": 2, "pending": 1}
    assert dead_letter_moves.find(move.id).moved == 3


def test_of_disabled_and_removed_subscriptions_nothing_is_retried(shop: int) -> None:
    off = dead.subscription("off", disabled_at=NOW)
    fail(2, off)
    with pytest.raises(NothingSelected, match=r"all 2 have expired, or are for subscriptions that are disabled or removed"):
        at_once()
    fail(1, shop)
    assert at_once().total == 1
    advance()
    assert statuses() == {"pending": 1, "failed": 2}


def test_nothing_is_never_done_in_silence(shop: int) -> None:
    with pytest.raises(NothingSelected, match="no dead letter is like this; nothing was changed"):
        at_once()
    with pytest.raises(NothingSelected):
        purged()
    assert models.DeadLetterMove.select().count() == 0
    with pytest.raises(NotFound, match="messagebroker dead-letters moves"):
        undo(99, TEST)


def test_so_many_a_second(shop: int) -> None:
    fail(30, shop)
    move = at_once(rate=3)
    done = [advance()]
    assert advance() == 0, "not twice in the same second"
    while dead_letter_moves.find(move.id).state == "running":
        later(move.id, 1)
        done.append(advance())
    assert sum(done) == 30
    assert set(done[:-2]) <= {3, 4}
    with pytest.raises(Refused, match="between 1 and 10,000"):
        at_once(rate=0)


def test_a_rate_makes_up_for_a_slow_poller_but_not_for_an_hour(shop: int) -> None:
    fail(100, shop)
    move = at_once(rate=3)
    later(move.id, 3600)
    assert 18 <= advance() <= 20


def test_a_killed_worker_leaves_a_move_that_another_goes_on_with(shop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(3, shop)
    move = at_once()
    step = dead_letter_pieces.step
    with monkeypatch.context() as patch:
        patch.setattr(dead_letter_pieces, "step", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            advance()
    assert dead_letter_pieces.step is step
    assert statuses() == {"failed": 3}
    assert advance() == 0, "its lease goes on"
    later(move.id, 31)
    assert advance() == 3
    assert dead_letter_moves.find(move.id).moved == 3


def test_each_is_moved_once_by_many_workers(shop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter_pieces, "PIECE", 20)
    fail(200, shop)
    move = at_once()
    moved: list[int] = []
    deadline = time.monotonic() + 60

    def work() -> None:
        try:
            while dead_letter_moves.find(move.id).state == "running" and time.monotonic() < deadline:
                moved.append(advance(0.01))
        finally:
            give_up_connection()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(moved) == 200
    assert dead_letter_moves.find(move.id).moved == Moved.select().count() == 200


def test_a_delivery_that_fails_again_is_free_for_another_move(shop: int) -> None:
    [message] = fail(1, shop)
    move = at_once()
    advance()
    holder = ids.new()
    Delivery.update(status="processing", holder=holder).execute()
    failed = Outcome(kind="failed", code=410, error="gone")
    end([
        Result(
            message_id=message, subscription_id=shop, channel="webhook", holder=holder, outcome=failed, started_at=NOW,
            duration_ms=1, schedule=(0.0,),
        )
    ])  # fmt: skip
    row = Delivery.get()
    assert (row.status, row.attempts, row.move_id) == ("failed", 1, None)
    with pytest.raises(UndoOver, match="tried again"):
        undo(move.id, TEST)
    assert at_once().total == 1


def test_the_workers_poller_does_it(shop: int) -> None:
    fail(2, shop)
    move = at_once()
    poller = Poller()
    poller._moved_at -= 10  # as if it had run for a while
    poller.start()
    try:
        deadline = time.monotonic() + 20
        while dead_letter_moves.find(move.id).state == "running" and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        poller.stop()
    assert statuses() == {"pending": 2}


# purge


def test_what_is_purged_is_marked_first_and_gone_ten_minutes_later(shop: int) -> None:
    fail(3, shop)
    move = purged()
    assert advance() == 3
    assert statuses() == {"cancelled": 3}
    assert statuses(Message) == {"cancelled": 3}
    found = dead_letter_moves.find(move.id)
    assert found.undo_until is not None
    assert timedelta(minutes=9) < found.undo_until - clock.now() <= timedelta(minutes=10, seconds=1)
    advance()
    assert statuses() == {"cancelled": 3}
    later(move.id, 601)
    for _ in range(3):
        advance()
    assert Delivery.select().count() == 0
    assert statuses(Message) == {"cancelled": 3}, "messages stay until the retention removes them"
    assert dead_letter_moves.find(move.id).state == "final"
    with pytest.raises(UndoOver, match="no more"):
        undo(move.id, TEST)


def test_a_message_follows_what_is_left_of_its_deliveries(shop: int) -> None:
    [message] = fail(1, shop)
    dead.put(Delivery, [dead.delivery_row(message, dead.subscription("other"), status="delivered")])
    purged()
    advance()
    assert Message.get().status == "delivered"


def test_a_purge_needs_the_count_that_was_seen_and_a_reason(shop: int) -> None:
    fail(3, shop)
    with pytest.raises(CountChanged, match="2 were confirmed and there are 3 now"):
        purged(confirm=2)
    with pytest.raises(Refused, match="say why"):
        purge(EVERYTHING, TEST, confirm=3, reason=" ")
    assert statuses() == {"failed": 3}
    assert purged(confirm=4).total == 3


# undo


def test_undoing_a_purge_puts_all_of_it_back_as_it_was(shop: int) -> None:
    fail(3, shop)
    before = list(Delivery.select().order_by(Delivery.message).dicts())
    move = purged()
    advance()
    found = undo(move.id, TEST)
    assert (found.count, found.not_moved, found.kept) == (3, 0, 0)
    advance()
    assert list(Delivery.select().order_by(Delivery.message).dicts()) == before
    assert statuses(Message) == {"failed": 3}
    done = dead_letter_moves.find(move.id)
    assert (done.state, done.undone) == ("undone", 3)
    assert all(row.undone_at for row in Moved.select())
    [entry] = audited("dead_letters.undo")
    assert entry.object_id == str(move.id)
    with pytest.raises(UndoOver, match="undone already; 3 were put back"):
        undo(move.id, TEST)


def test_undoing_a_retry_takes_back_what_was_not_tried_yet(shop: int) -> None:
    messages = fail(5, shop)
    before = {bytes(row.message_id): (row.attempts, row.ended_at) for row in Delivery.select()}
    move = at_once()
    advance()
    Delivery.update(status="processing").where(Delivery.message == messages[0]).execute()
    Delivery.update(attempts=1).where(Delivery.message == messages[1]).execute()
    Delivery.update(status="delivered", attempts=1).where(Delivery.message == messages[2]).execute()
    found = undo(move.id, TEST)
    assert (found.count, found.kept) == (2, 3)
    advance()
    assert statuses() == {"processing": 1, "pending": 1, "delivered": 1, "failed": 2}
    back = list(Delivery.select().where(Delivery.status == "failed"))
    assert [(row.attempts, row.ended_at) for row in back] == [before[bytes(row.message_id)] for row in back]
    assert {bytes(row.message_id) for row in Moved.select().where(Moved.undone_at.is_null(False))} == set(messages[3:])


def test_of_an_undo_and_a_claim_at_once_one_wins(shop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of messages that have begun already, so that the claim waits for no lock of theirs."""
    messages, other = fail(3, shop), dead.subscription("other")
    dead.put(Delivery, [dead.delivery_row(message, other, None, status="delivered") for message in messages])
    move = at_once()
    advance()
    Message.update(status="processing").execute()
    undo(move.id, TEST)
    look, claimed = dead_letter_steps._pairs_of, []

    def claim() -> None:
        with suppress(Unavailable):  # SQLite lets in one writer
            claimed.extend(claim_chosen([(message, shop) for message in messages], holder=bytes(16), lease_seconds=60))
        give_up_connection()

    worker = threading.Thread(target=claim)

    def looked(*conditions: Any) -> Any:
        found = look(*conditions)
        worker.start()
        worker.join(0.3)
        return found

    monkeypatch.setattr(dead_letter_steps, "_pairs_of", looked)
    advance()
    worker.join()
    found = {row.status for row in Delivery.select().where(Delivery.subscription_id == shop)}
    assert (found, len(claimed)) == ({"failed"}, 0)


def test_an_undo_stops_a_move_that_is_under_way(shop: int) -> None:
    fail(10, shop)
    move = at_once(rate=4)
    advance()
    found = undo(move.id, TEST)
    assert (found.count, found.not_moved) == (4, 6)
    for _ in range(3):
        advance()
    assert statuses() == {"failed": 10}
    assert dead_letter_moves.find(move.id).undone == 4


def test_an_undo_in_the_middle_of_a_piece_wins(shop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen in one transaction or the other: nothing is both stopped and moved."""
    fail(3, shop)
    move = at_once()
    step = dead_letter_pieces.step

    def undone_meanwhile(*given: Any) -> Any:
        found = step(*given)
        fields = {"state": "undoing", "next_at": clock.now()}
        models.DeadLetterMove.update(**fields).where(models.DeadLetterMove.id == move.id).execute()
        return found

    monkeypatch.setattr(dead_letter_pieces, "step", undone_meanwhile)
    assert advance() == 0
    assert statuses() == {"failed": 3}
    assert Moved.select().count() == 0


def test_nothing_to_put_back_is_said(shop: int) -> None:
    fail(2, shop)
    move = at_once()
    advance()
    Delivery.update(status="delivered", attempts=1).execute()
    with pytest.raises(UndoOver, match="all 2 of move 1 were tried again"):
        undo(move.id, TEST)


def test_in_pieces_as_small_as_one(shop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter_pieces, "PIECE", 1)
    messages = fail(3, shop)
    other = dead.subscription("other")
    dead.put(Delivery, [dead.delivery_row(message, other) for message in messages])
    move = purged()
    assert advance() == 6
    undo(move.id, TEST)
    assert advance() == 6
    assert statuses() == {"failed": 6}
    again = purged()
    advance()
    later(again.id, 601)
    while dead_letter_moves.find(again.id).state != "final":
        advance()
    assert Delivery.select().count() == 0


def test_the_list_of_moves(shop: int) -> None:
    fail(2, shop)
    first = at_once(Selection(subscription_id=shop, since=NOW - timedelta(days=1)))
    second = purged()
    assert [move.id for move in dead_letter_moves.page(10)] == [second.id, first.id]
    assert [move.id for move in dead_letter_moves.page(10, second.id)] == [first.id]
    assert dead_letter_moves.page(1, second.id)[0].selection == Selection(subscription_id=shop, since=NOW - timedelta(days=1))
