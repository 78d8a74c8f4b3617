from __future__ import annotations

from datetime import UTC, datetime, timedelta

from messagebroker.ops import ids


def test_a_time_before_all_ids_is_below_them() -> None:
    assert ids.floor(datetime(280, 3, 30, tzinfo=UTC)) == ids.floor(datetime(1970, 1, 1, tzinfo=UTC)) < ids.new()


def test_what_was_drawn_in_this_very_millisecond_is_between_floor_and_ceiling() -> None:
    drawn = ids.new()
    moment = ids.drawn_at(drawn)
    assert ids.floor(moment) <= drawn < ids.ceiling(moment) == ids.floor(moment + timedelta(milliseconds=1))


def test_the_last_moment_of_all_has_a_ceiling() -> None:
    assert ids.ceiling(datetime.max.replace(tzinfo=UTC)) > ids.floor(datetime.max.replace(tzinfo=UTC))
