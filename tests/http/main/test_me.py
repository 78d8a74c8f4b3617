from __future__ import annotations

import pytest
from support.cast import TEST, Cast, assert_problem

from messagebroker.ops import users
from messagebroker.ops.permissions import PERMISSIONS

ME = "/api/v1/auth/me"


@pytest.mark.parametrize("role", Cast.roles)
def test_everybody_sees_who_they_are(cast: Cast, role: str) -> None:
    answer = cast.get(ME, role)
    assert answer.json == {
        "email": f"{role}@example.org",
        "role": role,
        "permissions": sorted(PERMISSIONS[role]),
        "must_change_password": False,
    }


def test_a_new_role_counts_from_the_next_request_on(cast: Cast) -> None:
    token = cast.token("user")
    users.set_role("user@example.org", "operator", actor=TEST)
    assert cast.call("GET", ME, token=token).json["role"] == "operator"


def test_also_with_a_one_time_password(cast: Cast) -> None:
    users.create("new@example.org", "admin", actor=TEST)
    assert cast.get(ME, "new").json["must_change_password"] is True
    assert_problem(cast.get("/api/v1/messages", "new"), 403, "password-change-required")


def test_components_are_nobody(cast: Cast) -> None:
    assert_problem(cast.get(ME, peer="proxy"), 403, "forbidden")
