from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from messagebroker.client import Problem, Unreachable
from messagebroker.ui.message import as_text
from messagebroker.ui.messages import REMEMBERED, address, remember
from messagebroker.ui.sessions import Session
from messagebroker.ui.wording import age, exact, explanation, login_problem, moment, size


def problem(status: int, detail: str = "the details") -> Problem:
    return Problem(status, {"type": "urn:messagebroker:problem:x", "detail": detail})


def test_times_are_in_utc_wherever_they_come_from() -> None:
    at = datetime(2025, 3, 1, 1, 2, 3, 456789, tzinfo=timezone(timedelta(hours=5)))
    assert moment(at) == "2025-02-28 20:02:03 UTC"
    assert exact(at) == "2025-02-28 20:02:03.456 UTC"
    assert moment(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0.4, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_ages(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_sizes() -> None:
    assert [size(n) for n in (None, 0, 1234, 262_144)] == ["–", "0 B", "1,234 B", "256 KiB"]


def test_a_failed_login_never_says_which_half_was_wrong() -> None:
    assert "address and password" in login_problem(problem(401, "no such user"))
    assert "no such user" not in login_problem(problem(401, "no such user"))
    assert "Wait" in login_problem(problem(429))
    assert "does not answer" in login_problem(Unreachable("x", outcome="not-sent"))


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
def test_what_main_says_to_programs_is_not_shown_to_people(status: int) -> None:
    heading, text = explanation(problem(status, "internal words"))
    assert heading
    assert "internal" not in heading + text


def test_bodies_as_text() -> None:
    assert as_text("<b>\n") == "<b>\n"
    assert as_text({"ü": [1]}) == '{\n  "ü": [\n    1\n  ]\n}'
    assert as_text(None) == "null"


def test_the_way_back_is_bounded() -> None:
    session = Session(None, "t", None, False, 0, 0, 0)  # type: ignore[arg-type]
    for number in range(REMEMBERED + 10):
        remember(session, address("", str(number + 1)), address("", str(number)))
    assert len(session.previous) == REMEMBERED
    assert session.previous[address("", str(REMEMBERED))] == address("", str(REMEMBERED - 1))


def test_addresses_are_encoded() -> None:
    assert address("failed", "a&b=c") == "/messages?status=failed&cursor=a%26b%3Dc"
    assert address("") == "/messages"
