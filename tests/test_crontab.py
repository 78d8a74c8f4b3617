from __future__ import annotations

import pytest

from messagebroker import crontab


@pytest.mark.parametrize("line", ["0 2 * * *", "*/15 0-6 1,15 * mon-fri", "59 23 31 12 7", "0 0/2 * * SUN"])
def test_good_lines(line: str) -> None:
    assert crontab.problem(line) is None


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("at night", "five fields"),
        ("61 2 * * *", "minute '61'"),
        ("0 24 * * *", "hour '24'"),
        ("0 2 0 * *", "day '0'"),
        ("0 2 * 13 *", "month '13'"),
        ("0 2 * * funday", "weekday 'funday'"),
        ("0 6-2 * * *", "hour '6-2'"),
        ("*/0 2 * * *", "minute '*/0'"),
        ("0, 2 * * *", "minute '0,'"),
    ],
)
def test_bad_lines_are_named(line: str, named: str) -> None:
    problem = crontab.problem(line)
    assert problem is not None
    assert named in problem
