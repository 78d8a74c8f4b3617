from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from messagebroker.ops import logs
from messagebroker.ops.event_log import ERROR, INFORMATION, WARNING, EventLogHandler
from messagebroker.settings import Settings


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events(settings: Settings, clock: Clock) -> Iterator[list[tuple[int, str]]]:
    """What reaches the event log of a role whose logging is set up."""
    told: list[tuple[int, str]] = []
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    logs.configure(
        settings, "proxy", console=False, also=[EventLogHandler(lambda kind, text: told.append((kind, text)), clock)]
    )
    yield told
    for handler in root.handlers:
        if handler not in before:
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def test_warnings_and_errors_are_events_and_ordinary_lines_are_not(events: list[tuple[int, str]]) -> None:
    log = structlog.get_logger("messagebroker.policy")
    log.info("policy in force", number=3)
    log.warning("no policy yet")
    logging.getLogger("of.a.library").error("broken %s", "pipe")
    assert [kind for kind, _ in events] == [WARNING, ERROR]
    assert "no policy yet" in events[0][1]
    assert "broken pipe" in events[1][1]
    assert "\x1b[" not in events[0][1], "the viewer shows no colours"


def test_a_role_says_when_it_starts_and_stops(events: list[tuple[int, str]]) -> None:
    structlog.get_logger("messagebroker.run").info("role starts", role="proxy")
    assert [(kind, "role starts" in text) for kind, text in events] == [(INFORMATION, True)]


def test_no_secret_is_in_an_event(events: list[tuple[int, str]]) -> None:
    structlog.get_logger("x").error("refused", url="redis://:hunter2@localhost/0", password="hunter2")
    assert "hunter2" not in events[0][1]


def test_an_outage_is_one_event_a_minute(events: list[tuple[int, str]], clock: Clock) -> None:
    log = structlog.get_logger("messagebroker.poller")
    for number in range(50):
        log.warning("Redis does not answer", attempt=number)
    log.warning("something else")
    assert len(events) == 2
    clock.now += 61
    log.warning("Redis does not answer", attempt=51)
    assert len(events) == 3


def test_an_event_log_that_refuses_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def full(kind: int, text: str) -> None:
        raise OSError("the event log is full")

    handler = EventLogHandler(full)
    handler.handle(logging.LogRecord("x", logging.ERROR, "", 0, "broken", None, None))
    assert capsys.readouterr().err == ""


def test_very_long_texts_are_cut(clock: Clock) -> None:
    told: list[str] = []
    EventLogHandler(lambda kind, text: told.append(text), clock).say("x" * 100_000)
    assert len(told[0]) < 31_839
