"""POST /api/v1/auth/password: a person changes their own password."""

from __future__ import annotations

from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Right
from messagebroker.http.main.tokens import WAIT, SessionAnswer, session_answer, too_many
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import sessions, users
from messagebroker.ops.lockout import Lockout
from messagebroker.ops.passwords import MAX_LENGTH, WeakPassword, WrongPassword
from messagebroker.ops.sessions import Overtaken
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
            "POST", "/api/v1/auth/password", "Change my password", PasswordChange, {200: SessionAnswer, 409: None, 429: None},
            security=TOKEN, tag="people", description="Ends every session of this person; the answer begins a new one.",
            response_headers=WAIT,
        ),
    )  # fmt: skip

    def __init__(self, tokens: Tokens, lockout: Lockout) -> None:
        self._tokens = tokens
        self._decoder = msgspec.json.Decoder(PasswordChange)
        self._lockout = lockout

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """200 with new tokens."""
        caller = request.context.caller
        given = read_json(request, self._decoder)
        email, address = caller.person.email, str(caller.address)
        wait = self._lockout.begin(email, address)
        if wait > 0:
            raise too_many(wait)
        try:
            user = users.change_password(caller.person, given.current_password, given.new_password, actor=caller.actor)
        except WrongPassword as error:
            self._lockout.failed(email, address)
            raise Problem(403, "wrong-password", str(error), field="current_password") from None
        except WeakPassword as error:
            self._lockout.forgiven(email, address)
            raise Problem(422, "weak-password", str(error), field="new_password") from None
        except Overtaken:
            self._lockout.forgiven(email, address)
            raise
        self._lockout.succeeded(email, address)
        pair = sessions.begin(self._tokens, user, address=caller.address, user_agent=caller.user_agent)
        answer(response, session_answer(self._tokens, pair))
