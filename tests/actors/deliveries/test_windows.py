"""How many attempts a destination and a process may have under way."""

from __future__ import annotations

from messagebroker.actors.deliveries import windows
from messagebroker.actors.deliveries.windows import FIRST_WINDOW, MOST_BYTES, Place, Windows


def begin(found: Windows, number: int, times: int, most: int = 32) -> list[Place]:
    found.reserve(number, most, times)
    return [place for _ in range(times) if (place := found.begin(number, most)) is not None]


def test_a_new_destination_gets_a_few() -> None:
    found = Windows(100)
    assert found.reserve(1, 32, 50) == FIRST_WINDOW
    assert len([place for _ in range(50) if (place := found.begin(1, 32))]) == FIRST_WINDOW
    assert (found.running, found.reserved) == (FIRST_WINDOW, FIRST_WINDOW)


def test_one_that_takes_gets_more_up_to_what_its_channel_allows() -> None:
    found = Windows(100)
    for _ in range(20):
        for place in begin(found, 1, 1, most=8):
            found.end(place, took=True, seconds=0.01, most=8)
            found.unreserve(1)
    assert len(begin(found, 1, 50, most=8)) == 8


def test_one_that_fails_gets_less_but_never_nothing() -> None:
    found = Windows(100)
    for _ in range(5):
        for place in begin(found, 1, 1):
            found.end(place, took=False, seconds=15, most=32)
            found.unreserve(1)
    assert len(begin(found, 1, 50)) == 1


def test_quick_destinations_are_claimed_for_ahead_and_slow_ones_are_not() -> None:
    found = Windows(1000)
    for number, seconds in ((1, 0.005), (2, 2.0)):
        for place in begin(found, number, 1):
            found.end(place, took=True, seconds=seconds, most=8)
            found.unreserve(number)
    assert found.reserve(1, 8, 1000) == windows.MOST_AHEAD
    assert found.reserve(2, 8, 1000) == FIRST_WINDOW + 1


def test_destinations_that_never_answered_leave_half_to_the_others() -> None:
    found = Windows(20)
    for place in begin(found, 1, 1):
        found.end(place, took=True, seconds=0.01, most=32)
        found.unreserve(1)
    hanging = [place for number in range(2, 50) for place in begin(found, number, 4)]
    assert len(hanging) == 10
    assert len(begin(found, 1, 5)) == 5
    found.end(hanging[0], took=False, seconds=15, most=32)
    assert begin(found, 50, 1), "its place is free again"


def test_a_few_that_hang_with_all_they_are_allowed_leave_room_for_those_of_which_nothing_is_known() -> None:
    found = Windows(20)
    assert [len(begin(found, number, 4)) for number in range(1, 5)] == [4, 1, 1, 1]
    assert [len(begin(found, number, 1)) for number in range(5, 9)] == [1, 1, 1, 0]


def test_a_process_has_its_limit() -> None:
    found = Windows(3)
    for number in range(1, 6):
        for place in begin(found, number, 1):
            found.end(place, took=True, seconds=0.01, most=32)
            found.unreserve(number)
    assert sum(len(begin(found, number, 1)) for number in range(1, 6)) == 3


def test_what_is_idle_and_unknown_is_forgotten() -> None:
    found = Windows(10)
    begin(found, 1, 1)
    found.reserve(2, 32)
    found.unreserve(2)
    found.forget({3})
    assert set(found._windows) == {1}


def test_channels_that_merge_claim_for_whole_calls() -> None:
    found = Windows(1000)
    assert found.reserve(1, 2, 10_000, merges=500) == 2 * 500


def test_what_is_in_hand_has_a_size() -> None:
    """A thousand bodies of the largest kind would not fit beside each other."""
    found = Windows(1000)
    found.hold(MOST_BYTES)
    assert found.reserve(1, 32) == 0
    found.hold(-1)
    assert found.reserve(1, 32) == 1
