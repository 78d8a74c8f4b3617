from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from messagebroker.ops.descriptors import fitting


@pytest.mark.parametrize(
    ("limits", "number", "fits", "raised"),
    [
        ((1024, 4096), 1000, 1000, [(1500, 4096)]),
        ((1024, 4096), 9000, 3596, [(4096, 4096)]),
        ((1024, -1), 9000, 9000, [(9500, -1)]),
        ((1024, 1024), 1000, 524, [(1024, 1024)]),
        ((400, 400), 1000, 1, [(400, 400)]),
        ((20_000, 20_000), 1000, 1000, []),
        ((-1, -1), 1000, 1000, []),
    ],
)
def test_the_limit_is_raised_as_far_as_it_goes(
    limits: tuple[int, int], number: int, fits: int, raised: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    system = SimpleNamespace(
        RLIMIT_NOFILE=7, RLIM_INFINITY=-1, getrlimit=lambda _: limits, setrlimit=lambda _, pair: asked.append(pair)
    )
    monkeypatch.setitem(sys.modules, "resource", system)  # type: ignore[arg-type]
    assert fitting(number, reserve=500, windows=False) == fits
    assert asked == raised


def test_windows_has_no_such_limit() -> None:
    assert fitting(100_000, windows=True) == 100_000
