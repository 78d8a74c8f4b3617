"""POST /api/v1/auth/password: a person changes their own password."""

from __future__ import annotations

from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Right
from messagebroker.http.main.login import TokenAnswer, token_answer
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import users
from messagebroker.ops.passwords import MAX_LENGTH, WeakPassword, WrongPassword
from messagebroker.ops.throttle import Throttle
from messagebroker.ops.tokens import Tokens


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """The password that is, and the one that shall be."""

    current_password: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LENGTH)]
    new_password: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LENGTH)]


class Password:
    """A stolen token must not be a way to guess the password, so that attempts are counted here too."""

    rights: ClassVar = {"POST": Right(signed_in=True)}
    operations: ClassVar = (
        Operation(
            "POST", "/api/v1/auth/password", "Change my password", PasswordChange, {200: TokenAnswer, 429: None},
            security=TOKEN, tag="people", description="Ends every token of this person; the answer holds a new one.",
        ),
    )  # fmt: skip

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._decoder = msgspec.json.Decoder(PasswordChange)
        self._attempts = Throttle(failures=5, seconds=300)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """200 with a new token."""
        caller = request.context.caller
        given = read_json(request, self._decoder)
        wait = self._attempts.wait_seconds(caller.person.email)
        if wait > 0:
            seconds = str(int(wait) + 1)
            raise Problem(429, "too-many-attempts", f"wait {seconds} seconds and try again", headers={"Retry-After": seconds})
        try:
            user = users.change_password(caller.person, given.current_password, given.new_password, actor=caller.actor)
        except WrongPassword as error:
            self._attempts.failed(caller.person.email)
            raise Problem(403, "wrong-password", str(error), field="current_password") from None
        except WeakPassword as error:
            raise Problem(422, "weak-password", str(error), field="new_password") from None
        self._attempts.succeeded(caller.person.email)
        answer(response, token_answer(self._tokens, user))
