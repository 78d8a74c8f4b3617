"""What fields of several things have in common: how a wrong value is told, and who a thing belongs to."""

from __future__ import annotations

from typing import Any

from messagebroker.db.models import Group, User
from messagebroker.errors import Refused
from messagebroker.ops.users import normal_email


class WrongField(Refused):
    """A value that will not do; `field` names it."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


def owner(field: str, value: Any) -> str | None:
    """The address of a user that there is, or None; raises WrongField."""
    if value is None:
        return None
    try:
        email = normal_email(str(value))
    except Refused as error:
        raise WrongField(field, str(error)) from None
    user = User.get_or_none(User.email == email)
    if user is None or user.email != email:  # else whoever is given that address later would own it
        raise WrongField(field, f"there is no user {email}; `messagebroker users create` makes one")
    return email


def group(field: str, value: Any) -> int | None:
    """The number of a group that there is, or None; raises WrongField."""
    if value is None:
        return None
    if not isinstance(value, int) or not Group.select().where(Group.id == value).exists():
        raise WrongField(field, f"there is no group {value}")
    return value
