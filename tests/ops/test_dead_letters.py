from __future__ import annotations

from datetime import timedelta

import peewee as pw
import pytest
from support import dead
from support.dead import DOWN, NOW, REFUSED, fail

from messagebroker.db.models import Delivery, Message
from messagebroker.errors import Refused
from messagebroker.ops import dead_letters, ids
from messagebroker.ops.dead_letter_selection import Position, Selection, read_position
from messagebroker.ops.deliveries.claimed import among

pytestmark = pytest.mark.usefixtures("database")


def all_groups(limit: int = 1) -> list[tuple[int, str | None, int]]:
    found: list[tuple[int, str | None, int]] = []
    while page := dead_letters.groups(limit, found[-1][:2] if found else None):
        found += [(group.subscription_id, group.fingerprint, group.count) for group in page]
    return found


def test_groups_by_destination_and_kind_of_error() -> None:
    shop, till = dead.subscription("shop"), dead.subscription("till", disabled_at=NOW)
    known = fail(3, shop, DOWN)
    fail(2, shop, REFUSED)
    fail(4, till, DOWN)
    fail(1, shop, DOWN, status="delivered")
    expected = sorted([(shop, DOWN, 3), (shop, REFUSED, 2), (till, DOWN, 4)])
    assert all_groups(1) == all_groups(2) == all_groups(100) == expected
    found = {(group.subscription_id, group.fingerprint): group for group in dead_letters.groups(100)}
    group = found[shop, DOWN]
    assert (group.subscription, group.channel, group.state, group.error) == ("shop", "webhook", "active", "no answer")
    assert group.message_id == ids.text(known[-1])
    assert timedelta() <= group.last_at - group.first_at < timedelta(seconds=1)
    assert abs(group.first_at - NOW) < timedelta(milliseconds=2)
    assert found[till, DOWN].state == "disabled"


def test_failures_without_a_fingerprint_are_a_group_too() -> None:
    number = dead.subscription("shop")
    fail(2, number, None)
    fail(1, number, DOWN)
    assert all_groups(1) == [(number, None, 2), (number, DOWN, 1)]
    assert dead_letters.groups(10, (number, None))[0].fingerprint == DOWN


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_a_list_goes_on_where_the_page_before_ended(limit: int) -> None:
    first, second = dead.subscription("a"), dead.subscription("b")
    for number in (first, second):
        for mark in (None, DOWN, REFUSED):
            fail(2, number, mark)
    found: list[dead_letters.DeadLetterView] = []
    while page := dead_letters.page(Selection(), limit, dead_letters.position_of(found[-1]) if found else None):
        found += page
    assert len({(one.message_id, one.subscription_id) for one in found}) == len(found) == 12
    assert [one.subscription_id for one in found] == [first] * 6 + [second] * 6


def test_what_each_selection_is_of() -> None:
    shop, till = dead.subscription("shop"), dead.subscription("till")
    early = fail(2, shop, DOWN, at=NOW - timedelta(days=2))
    fail(3, shop, DOWN)
    fail(1, shop, REFUSED)
    fail(1, till, DOWN)

    def counted(**selection: object) -> int:
        return len(dead_letters.page(Selection(**selection), 100))  # type: ignore[arg-type]

    assert counted() == 7
    assert counted(subscription_id=shop) == 6
    assert counted(subscription_id=shop, fingerprint=DOWN) == 5
    assert counted(subscription_id=shop, fingerprint=DOWN, since=NOW - timedelta(days=1)) == 3
    assert counted(subscription_id=shop, fingerprint=DOWN, until=NOW - timedelta(days=1)) == 2
    assert counted(message_id=ids.text(early[0])) == 1
    for unindexed in ({"fingerprint": DOWN}, {"since": NOW}, {"subscription_id": shop, "since": NOW}):
        with pytest.raises(Refused, match="no index serves"):
            counted(**unindexed)


def test_an_item_says_what_is_plain_of_it() -> None:
    number = dead.subscription("shop")
    [message] = fail(1, number)
    [found] = dead_letters.page(Selection(), 10)
    assert (found.message_id, found.client_id, found.topic, found.priority) == (ids.text(message), "acme", "orders", "normal")
    assert (found.attempts, found.error, found.fingerprint, found.subscription) == (8, "no answer", DOWN, "shop")
    assert found.failed_at == NOW + timedelta(minutes=5)


def test_positions_are_read_as_they_were_written() -> None:
    for mark in (None, DOWN):
        position = Position(7, mark, bytes(range(16)))
        assert read_position(position.text()) == position
    for wrong in ("", "7", "7..00", "x." + DOWN + "." + "0" * 32, "7." + DOWN + "." + "0" * 32 + "\n"):
        with pytest.raises(ValueError, match="position"):
            read_position(wrong)


def test_a_message_that_is_cleaned_up_is_no_dead_letter(database: pw.Database) -> None:
    fail(1, dead.subscription("shop"))
    Message.delete().execute()
    assert Delivery.select().count() == 0
    assert dead_letters.groups(10) == []


def test_keys_name_their_rows_and_no_others() -> None:
    first, second = dead.subscription("a"), dead.subscription("b")
    one, other = fail(2, first)
    dead.put(Delivery, [dead.delivery_row(message, second) for message in (one, other)])
    chosen = among([(one, first), (other, second)])
    rows = {(bytes(row.message_id), row.subscription_id) for row in Delivery.select().where(chosen)}
    assert rows == {(one, first), (other, second)}
    assert Delivery.select().where(among([])).count() == 0
