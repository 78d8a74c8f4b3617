"""POST /api/v1/auth/forgotten and /api/v1/auth/reset: a new password by e-mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import falcon
import msgspec
import redis as redis_py

from messagebroker.errors import Unavailable
from messagebroker.http.decoding import read_json
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.tokens import WAIT, too_many
from messagebroker.http.openapi import PUBLIC, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import password_resets
from messagebroker.ops.lockout import Lockout
from messagebroker.ops.login_lockout import LoginLockout
from messagebroker.ops.password_resets import WrongToken
from messagebroker.ops.passwords import MAX_LENGTH, WeakPassword
from messagebroker.settings import Settings

FORGOTTEN_PATH, RESET_PATH = "/api/v1/auth/forgotten", "/api/v1/auth/reset"


class ForgottenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The address that one logs in with."""

    email: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]


class ResetRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The code from the e-mail, and the password that shall be."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    new_password: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LENGTH)]


class Forgotten:
    """The same answer in the same time for every address: whether there is such a user is looked up later, elsewhere.

    Nobody is refused for the account that they name, or whoever asks all the time would shut this door for its owner.

    Args:
        settings: say whether there is a mail server.
        lockout: by address.
        enqueue: hands address of e-mail, IP address and user agent to the job that looks, draws a token and sends it.
    """

    rights: ClassVar = {"POST": Right(anonymous=True)}
    operations: ClassVar = (
        Operation(
            "POST", FORGOTTEN_PATH, "Ask for a new password by e-mail", ForgottenRequest,
            {202: None, 401: None, 403: None, 409: None, 429: None, 503: None}, security=PUBLIC, tag="people",
            response_headers=WAIT, description="Always the same 202, whether the address is anybody's or not.",
        ),
    )  # fmt: skip

    def __init__(self, settings: Settings, lockout: Lockout, enqueue: Callable[[str, str | None, str | None], Any]) -> None:
        self._settings = settings
        self._lockout = lockout
        self._enqueue = enqueue
        self._decoder = msgspec.json.Decoder(ForgottenRequest)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """202."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        if self._settings.smtp_host is None:
            detail = "this system sends no e-mail; somebody who manages users can give you a one-time password"
            raise Problem(409, "mail-not-configured", detail)
        wait = self._lockout.begin(given.email, str(caller.address))
        if wait > 0:
            raise too_many(wait)
        self._lockout.failed(given.email, str(caller.address))
        try:
            self._enqueue(given.email, caller.address, caller.user_agent)
        except redis_py.RedisError as error:
            raise Unavailable(f"Redis takes no job: {error}") from error
        response.status = 202


class Reset:
    """Ends every session of the person; they log in with the new password, and their second factor if they have one.

    Wrong codes hold nobody up but by `API_RATE_PER_ADDRESS`: 256 bits are not guessed.
    """

    rights: ClassVar = {"POST": Right(anonymous=True)}
    operations: ClassVar = (
        Operation(
            "POST", RESET_PATH, "Set a new password with a code from an e-mail", ResetRequest,
            {204: None, 401: None, 403: None, 429: None, 503: None}, security=PUBLIC, tag="people", response_headers=WAIT,
        ),
    )  # fmt: skip

    def __init__(self, at_login: LoginLockout) -> None:
        self._at_login = at_login
        self._decoder = msgspec.json.Decoder(ResetRequest)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """204."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        try:
            user = password_resets.reset(given.token, given.new_password, address=caller.address, user_agent=caller.user_agent)
        except WrongToken as error:
            raise Problem(403, "reset-token-invalid", str(error), field="token") from None
        except WeakPassword as error:
            raise Problem(422, "weak-password", str(error), field="new_password") from None
        self._at_login.clear(user.email, str(caller.address))
        response.status = 204
