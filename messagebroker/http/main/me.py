"""GET /api/v1/auth/me: whom the token belongs to."""

from __future__ import annotations

from typing import ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer
from messagebroker.http.main.callers import Right
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.ops.permissions import PERMISSIONS


class Person(msgspec.Struct, kw_only=True):
    """A person and what they may do."""

    email: str
    role: str
    permissions: list[str]
    must_change_password: bool


class Me:
    """Answers also before a one-time password was changed."""

    rights: ClassVar = {"GET": Right(signed_in=True)}
    operations: ClassVar = (
        Operation("GET", "/api/v1/auth/me", "Who I am", responses={200: Person}, security=TOKEN, tag="people"),
    )

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """The person as the database has them now."""
        person = request.context.caller.person
        answer(
            response,
            Person(
                email=person.email,
                role=person.role,
                permissions=sorted(PERMISSIONS.get(person.role, ())),
                must_change_password=person.must_change_password,
            ),
        )
