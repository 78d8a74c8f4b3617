from __future__ import annotations

import threading
import time

import pytest

from messagebroker.ops import checks
from messagebroker.ops.checks import Checks

pytestmark = pytest.mark.clocked


def test_each_check_says_what_it_found() -> None:
    found = Checks({"redis": lambda: None, "database": lambda: "does not answer"})
    assert found.outcome() == {"redis": "ok", "database": "does not answer"}


def test_every_time_anew() -> None:
    said = ["starts", None]
    found = Checks({"redis": lambda: said.pop(0)})
    assert [found.outcome(), found.outcome()] == [{"redis": "starts"}, {"redis": "ok"}]


def test_a_check_that_hangs_is_told_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SECONDS", 0.1)
    asked: list[None] = []
    answer = threading.Event()

    def cut_off() -> None:
        asked.append(None)
        answer.wait(20)

    found = Checks({"database": cut_off, "redis": lambda: None})
    began = time.monotonic()
    for _ in range(3):
        assert found.outcome() == {"database": "no answer for 0 s", "redis": "ok"}
    assert time.monotonic() - began < 5
    assert len(asked) == 1
    answer.set()
    monkeypatch.setattr(checks, "SECONDS", 10.0)
    assert found.outcome() == {"database": "ok", "redis": "ok"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_check_that_fails_is_no_good_news() -> None:
    def broken() -> None:
        raise RuntimeError("a mistake of ours")

    assert Checks({"redis": broken}).outcome() == {"redis": "cannot be checked, see the log"}
