from __future__ import annotations

from datetime import UTC, datetime

from messagebroker.ops import ids


def test_a_time_before_all_ids_is_below_them() -> None:
    assert ids.floor(datetime(280, 3, 30, tzinfo=UTC)) == ids.floor(datetime(1970, 1, 1, tzinfo=UTC)) < ids.new()
