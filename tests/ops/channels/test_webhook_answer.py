from __future__ import annotations

import time

import pytest

from messagebroker.ops.channels.webhook_answer import Answer, judged, kind_of, seconds_asked

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ([200, 201, 202, 204, 299], "delivered"),
        ([300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 413, 415, 422], "failed"),
        ([408, 409, 421, 423, 425, 429, 500, 501, 502, 503, 504, 599, 101, 600], "retry"),
        ([410], "gone"),
    ],
)
def test_what_a_status_means(codes: list[int], kind: str) -> None:
    assert {kind_of(code) for code in codes} == {kind}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("999999999999999999999999", 86_400),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tuesday, 14-Nov-23 22:14:20 GMT", 60),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60),
        ("Tue, 14 Nov 2023 21:13:20 GMT", 0),
        ("Tue, 14 Nov 2090 21:13:20 GMT", 86_400),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("٧", None),
        ("soon", None),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert seconds_asked(value, NOW) == seconds


def test_a_date_without_zone_is_of_gmt_wherever_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        _take_up_zone()
        assert seconds_asked("Tue, 14 Nov 2023 22:14:20 -0000", NOW) == 60
    _take_up_zone()


def _take_up_zone() -> None:
    if hasattr(time, "tzset"):  # Windows has one zone for all processes
        time.tzset()


def test_retry_after_counts_only_where_there_is_another_try() -> None:
    for code, expected in ((429, 5.0), (503, 5.0), (400, None), (410, None), (200, None)):
        assert judged(Answer(code, {"Retry-After": "5"}), {}, NOW).retry_after == expected


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://other.example/secret?token=1", "to other.example;"),
        ("/elsewhere", "to another path;"),
        (None, "to nowhere;"),
        ("http://[broken", "to no address;"),
    ],
)
def test_a_redirect_is_told_without_its_secrets(location: str | None, words: str) -> None:
    outcome = judged(Answer(301, {} if location is None else {"Location": location}), {}, NOW)
    assert outcome.error is not None
    assert words in outcome.error
    assert "token" not in outcome.error
