"""POST /api/v1/auth/login: an e-mail address and a password for a token."""

from __future__ import annotations

from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.db.models import User
from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.openapi import PUBLIC, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import audit, users
from messagebroker.ops.metrics import LOGINS
from messagebroker.ops.throttle import Throttle
from messagebroker.ops.tokens import Tokens

PATH = "/api/v1/auth/login"


class LoginRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a person types."""

    email: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class TokenAnswer(msgspec.Struct, kw_only=True):
    """Send it as `Authorization: Bearer …`. With `must_change_password` it is good for changing the password only."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int
    must_change_password: bool


class Login:
    """Whoever guesses is slowed down, by account and address and by address alone."""

    rights: ClassVar = {"POST": Right(anonymous=True)}
    operations: ClassVar = (
        Operation(
            "POST", PATH, "Log in", LoginRequest, {200: TokenAnswer, 401: None, 403: None, 429: None, 503: None},
            security=PUBLIC, tag="people",
        ),
    )  # fmt: skip

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._decoder = msgspec.json.Decoder(LoginRequest)
        self._by_account = Throttle(failures=5, seconds=300)
        self._by_address = Throttle(failures=50, seconds=300)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """200 with a token; the same 401 for a wrong password, an unknown and a disabled user."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        address, account = str(caller.address), f"{caller.address} {given.email.strip().lower()}"
        self._refuse_guessers(account, address)
        user = users.authenticate(given.email, given.password)
        if user is None:
            self._by_account.failed(account)
            self._by_address.failed(address)
            LOGINS.labels("refused").inc()
            _record_failure(caller, given.email)
            raise Problem(401, "wrong-credentials", "e-mail address or password is wrong")
        self._by_account.succeeded(account)
        LOGINS.labels("ok").inc()
        audit.record(f"user:{user.email}", "user.login", "user", user.email, caller.address, caller.user_agent)
        answer(response, token_answer(self._tokens, user))

    def _refuse_guessers(self, account: str, address: str) -> None:
        wait = max(self._by_account.wait_seconds(account), self._by_address.wait_seconds(address))
        if wait > 0:
            LOGINS.labels("throttled").inc()
            seconds = str(int(wait) + 1)
            raise Problem(429, "too-many-attempts", f"wait {seconds} seconds and try again", headers={"Retry-After": seconds})


def token_answer(tokens: Tokens, user: User) -> TokenAnswer:
    """A new token for somebody who has just shown their password."""
    return TokenAnswer(
        access_token=tokens.issue(user), expires_in=tokens.seconds, must_change_password=user.must_change_password
    )


def _record_failure(caller: Caller, typed: str) -> None:
    """Names accounts that exist. What else was typed may be a password in the wrong box, and is not kept."""
    known = users.is_known(typed)
    audit.record_by(caller.actor, "user.login-failed", "user", typed.strip().lower() if known else "unknown")
