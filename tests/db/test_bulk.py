from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from messagebroker.db.bulk import Literals, _statements
from messagebroker.ops import clock

BOTH = [Literals(mysql=True), Literals(mysql=False)]


@pytest.mark.parametrize("literals", BOTH)
@pytest.mark.parametrize("text", ["it's", 'a"b', "a\\b", "a\x00b", "%s", "ü", "日本", "a\nb", "x'); DROP TABLE messages; --"])
def test_no_text_can_leave_its_literal(literals: Literals, text: str) -> None:
    for made in (literals.once(text), literals.text(text), literals.text(text)):
        assert re.fullmatch(r"(_utf8mb4 X'[0-9a-f]+'|CAST\(X'[0-9a-f]+' AS TEXT\))", made)


@pytest.mark.parametrize("literals", BOTH)
def test_ordinary_text_is_written_as_it_is(literals: Literals) -> None:
    assert literals.text("orders.created/eu-1_x") == "'orders.created/eu-1_x'"
    assert literals.text("") == "''"


def test_what_is_remembered_is_bounded() -> None:
    literals = Literals(mysql=True)
    for number in range(10_000):
        literals.text(f"t{number}")
        literals.moment(number * 1_000_000)
    assert len(literals._texts) <= 4096
    assert len(literals._seconds) <= 4096


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 2, 28, 23, 59, 59, 999_999, UTC),
        datetime(9999, 12, 31, 23, 59, 59, 1, UTC),
    ],
)
def test_moments_to_the_microsecond(moment: datetime) -> None:
    assert Literals(mysql=True).moment(clock.micros(moment)) == moment.strftime("'%Y-%m-%d %H:%M:%S.%f'")


def test_moments_that_no_column_takes() -> None:
    for wrong in (-1, clock.micros(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) + timedelta(seconds=0)) + 1_000_000):
        with pytest.raises(ValueError, match="years"):
            Literals(mysql=True).moment(wrong)


@pytest.mark.parametrize("most", [40, 200, 10_000])
def test_statements_are_no_longer_than_allowed_and_hold_every_row_once(most: int) -> None:
    rows = [f"({number:08d})" for number in range(100)]
    found = list(_statements("INSERT ", rows, most))
    assert all(len(statement) <= most for statement in found)
    assert [row for statement in found for row in statement.removeprefix("INSERT ").split(",")] == rows
    assert (len(found) == 1) == (most == 10_000)


def test_a_row_that_is_longer_goes_alone() -> None:
    assert list(_statements("I ", ["(1)", "(" + "2" * 100 + ")", "(3)"], 50)) == ["I (1)", "I (" + "2" * 100 + ")", "I (3)"]


def test_no_rows_make_no_statement() -> None:
    assert list(_statements("I ", [], 50)) == []
