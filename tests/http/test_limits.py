"""Counting refusals, addresses, memory and patience without a network."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from messagebroker.http.descriptors import room_for
from messagebroker.http.limits import Limits, Refusals, plain_address
from messagebroker.http.memory import relieve
from messagebroker.http.patience import Patience
from messagebroker.ops import metrics
from messagebroker.ops.addresses import group_of
from messagebroker.ops.descriptors import RESERVE
from messagebroker.settings import load

SETTINGS = load({}, environment="test")
LIMITS = Limits.of(SETTINGS, room=5000)


def test_windows_has_room_for_fewer_connections(caplog: pytest.LogCaptureFixture) -> None:
    assert room_for(400, windows=True) == 400
    assert not caplog.records
    assert room_for(2000, windows=True) < 512
    assert "MAX_CONNECTIONS is 2000" in caplog.text
    assert Limits.of(SETTINGS, room=100).max_connections == 100


def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    system = SimpleNamespace(
        RLIMIT_NOFILE=7, RLIM_INFINITY=-1, getrlimit=lambda _: (1024, 4096), setrlimit=lambda _, pair: asked.append(pair)
    )
    monkeypatch.setitem(sys.modules, "resource", system)  # type: ignore[arg-type]
    assert room_for(2000, windows=False) == 2000
    assert room_for(10_000, windows=False) == 4096 - RESERVE
    assert asked == [(2000 + RESERVE, 4096), (4096, 4096)]


@pytest.mark.parametrize(
    ("given", "plain", "group"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::5", "2001:db8:1:2::5", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1%eth0", "fe80::/64"),
    ],
)
def test_whose_connections_count_together(given: str, plain: str, group: str) -> None:
    assert plain_address((given, 1)) == (plain, 1)
    assert group_of(plain) == group


def test_a_flood_of_refusals_is_counted_one_by_one_and_logged_by_number(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    refusals = Refusals(clock=lambda: now)

    def count() -> float:
        return metrics.REGISTRY.get_sample_value("messagebroker_tls_refused_total", {"reason": "flood"}) or 0

    before = count()
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            refusals.record("flood", "192.0.2.1", "why")
        assert len(caplog.records) == Refusals.LINES_PER_SECOND
        now = 101.5
        refusals.record("flood", "192.0.2.1")
    assert count() == before + 1001
    assert "flood 980" in caplog.text
    assert len(caplog.records) == Refusals.LINES_PER_SECOND + 2


def test_harmless_refusals_do_not_crowd_out_others(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(clock=lambda: 100.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            refusals.record("gone", "192.0.2.1")
        assert not caplog.records
        refusals.record("foreign-ca", "192.0.2.2")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        refusals.tell()
        assert len(caplog.records) == 1


@dataclass
class Holding:
    size: int
    receiving: bool = True
    refused: bool = False

    def held(self) -> int:
        return self.size

    def is_receiving(self) -> bool:
        return self.receiving

    def refuse_body(self) -> None:
        self.refused = True


def test_the_greatest_unfinished_bodies_go_first() -> None:
    served, large, middle, small = Holding(500, receiving=False), Holding(400), Holding(300), Holding(10)
    channels = [small, middle, served, large, Holding(0)]
    assert relieve(channels, 1300) == 0
    assert relieve(channels, 850) == 1
    assert [holding.refused for holding in (served, large, middle, small)] == [False, True, False, False]


def test_early_haste_does_not_excuse_a_reader() -> None:
    patience = Patience(replace(LIMITS, body_seconds=10, min_body_rate=100))
    assert not patience.is_tired_of_reader(0, 0)
    start = patience._answer.started  # type: ignore[union-attr]
    assert not patience.is_tired_of_reader(start + 11, 5_000_000)
    start = patience._answer.started  # type: ignore[union-attr]
    assert patience.is_tired_of_reader(start + 11, 5_000_100)
