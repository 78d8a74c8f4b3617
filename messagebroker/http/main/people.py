"""Whom a path names, and whether the caller may manage them."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from messagebroker.db.models import User
from messagebroker.http.main.callers import Caller
from messagebroker.http.problems import Problem
from messagebroker.ops import users
from messagebroker.ops.permissions import covers

UserId = Annotated[int, msgspec.Meta(ge=1)]
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


def number(text: str, what: str) -> int:
    """The number in a path; a 404 problem for what is none."""
    if _NUMBER.fullmatch(text) is None:
        raise Problem(404, "not-found", f"there is no such {what}")
    return int(text)


def managed(caller: Caller, user_id: str) -> User:
    """The user of a path whom the caller manages.

    Raises:
        NotFound, Problem: there is none; the caller may do less than they.
    """
    user = users.by_id(number(user_id, "user"))
    require_cover(caller, user.role)
    return user


def require_cover(caller: Caller, role: str) -> None:
    """People manage only those who may do no more than they themselves, and make nobody more than that."""
    assert caller.person is not None
    if not covers(caller.person.role, role):
        raise Problem(403, "forbidden", f"the role {caller.person.role} may not manage the role {role}")
