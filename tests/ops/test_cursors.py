from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messagebroker.ops import cursors
from messagebroker.ops.cursors import WrongCursor

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
IDS = st.binary(min_size=16, max_size=16)


@given(IDS, MOMENTS, st.integers(0, 2**63 - 1), st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True))
def test_every_position_comes_back(position: bytes, moment: datetime, number: int, name: str) -> None:
    made = [cursors.of_id(position), cursors.of_due(moment, position), cursors.of_number(number), cursors.of_name(name)]
    assert cursors.read_id(made[0]) == position
    assert cursors.read_due(made[1]) == (moment, position)
    assert cursors.read_number(made[2]) == number
    assert cursors.read_name(made[3]) == name
    assert all(re.fullmatch("[A-Za-z0-9_-]+", cursor) for cursor in made), "they go into query strings"


@given(st.text())
def test_anything_else_is_refused_in_words(text: str) -> None:
    for read in (cursors.read_id, cursors.read_due, cursors.read_number, cursors.read_name):
        with suppress(WrongCursor):  # any other exception would be a 500
            read(text)


@pytest.mark.parametrize("text", ["", "A", "====", "é", "_" * 32, "bv8"])
def test_examples_that_are_none(text: str) -> None:
    for read in (cursors.read_id, cursors.read_due, cursors.read_number, cursors.read_name):
        with pytest.raises(WrongCursor):
            read(text)
