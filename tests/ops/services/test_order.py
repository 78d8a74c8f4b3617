from __future__ import annotations

import pytest

from messagebroker.ops.services.order import dependents_of, needed_by, start_order, stop_order
from messagebroker.roles import BY_NAME, NAMES


def test_all_start_after_what_they_need_and_stop_before_it() -> None:
    order = start_order()
    assert sorted(order) == sorted(NAMES)
    for name in NAMES:
        assert all(order.index(need) < order.index(name) for need in BY_NAME[name].needs if need in BY_NAME)
    assert stop_order() == order[::-1]


def test_main_is_first_and_the_portal_last() -> None:
    assert start_order() == ["main", "proxy", "scheduler", "worker", "portal"]


def test_a_few_roles_keep_their_order() -> None:
    assert start_order({"worker", "portal", "scheduler"}) == ["scheduler", "worker", "portal"]
    assert stop_order(["main", "proxy"]) == ["proxy", "main"]


@pytest.mark.parametrize(
    ("role", "needs", "dependents"),
    [
        ("main", [], ["proxy", "portal"]),
        ("proxy", ["main"], []),
        ("scheduler", [], ["worker"]),
        ("worker", ["scheduler"], []),
        ("portal", ["main"], []),
    ],
)
def test_who_needs_whom(role: str, needs: list[str], dependents: list[str]) -> None:
    assert needed_by(role) == needs
    assert dependents_of(role) == dependents
