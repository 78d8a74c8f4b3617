"""POST /api/v1/auth/login: an e-mail address, a password and, for those who have one, a second factor for a session."""

from __future__ import annotations

from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.db.models import User
from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.tokens import WAIT, SessionAnswer, session_answer, too_many
from messagebroker.http.openapi import PUBLIC, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import audit, sessions, users
from messagebroker.ops.lockout import Lockout
from messagebroker.ops.login_lockout import LoginLockout
from messagebroker.ops.metrics import FAILED_LOGINS, LOGINS
from messagebroker.ops.second_factor import SecondFactor
from messagebroker.ops.sessions import Overtaken
from messagebroker.ops.tokens import Tokens

PATH = "/api/v1/auth/login"
_WRONG = "wrong-credentials", "e-mail address or password is wrong"
Code = Annotated[str, msgspec.Meta(min_length=6, max_length=40)]


class LoginRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a person types. `code`: of their second factor, or a recovery code; for those who have set one up."""

    email: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    code: Code | None = None


class Login:
    """Whoever guesses is slowed down, by account and by address."""

    rights: ClassVar = {"POST": Right(anonymous=True)}
    operations: ClassVar = (
        Operation(
            "POST", PATH, "Log in", LoginRequest, {200: SessionAnswer, 401: None, 403: None, 429: None, 503: None},
            security=PUBLIC, tag="people", response_headers=WAIT,
            description="A 401 `second-factor-required` asks for the same once more, with `code`.",
        ),
    )  # fmt: skip

    def __init__(self, tokens: Tokens, lockout: LoginLockout, second_factor: SecondFactor) -> None:
        self._tokens = tokens
        self._decoder = msgspec.json.Decoder(LoginRequest)
        self._lockout = lockout
        self._second = second_factor

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """200 with tokens; the same 401 for a wrong password, an unknown and a disabled user."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        address = str(caller.address)
        lockout = self._lockout.of(given.password)
        _hold_up(lockout.begin(given.email, address))
        user = users.authenticate(given.email, given.password)
        if user is None:
            lockout.failed(given.email, address)
            raise _refusal(caller, given.email, *_WRONG)
        self._ask_for_second_factor(user, given, caller, lockout)
        try:
            pair = sessions.begin(self._tokens, user, address=caller.address, user_agent=caller.user_agent)
        except Overtaken:
            lockout.failed(given.email, address)
            raise _refusal(caller, user.email, *_WRONG) from None
        lockout.succeeded(user.email, address)
        LOGINS.labels("ok").inc()
        audit.record(f"user:{user.email}", "user.login", "user", user.email, caller.address, caller.user_agent)
        answer(response, session_answer(self._tokens, pair))

    def _ask_for_second_factor(self, user: User, given: LoginRequest, caller: Caller, lockout: Lockout) -> None:
        if user.totp_confirmed_at is None:
            return
        address, codes = str(caller.address), self._lockout.codes
        if given.code is None:
            lockout.forgiven(user.email, address)
            raise Problem(
                401, "second-factor-required", "send the same again with `code` from your authenticator", field="code"
            )
        wait = codes.begin(user.email, address)
        if wait > 0:
            lockout.forgiven(user.email, address)
            _hold_up(wait)
        if not self._second.check(user, given.code, caller.actor):
            for each in (lockout, codes):
                each.failed(user.email, address)
            raise _refusal(caller, user.email, "wrong-code", "this code is wrong, or was used already", field="code")
        codes.succeeded(user.email, address)


def _hold_up(wait: float) -> None:
    if wait > 0:
        LOGINS.labels("throttled").inc()
        FAILED_LOGINS.labels("throttled").inc()
        raise too_many(wait)


def _refusal(caller: Caller, typed: str, name: str, detail: str, field: str | None = None) -> Problem:
    """Names accounts that exist. What else was typed may be a password in the wrong box, and is not kept."""
    LOGINS.labels("refused").inc()
    FAILED_LOGINS.labels(name).inc()
    known = users.is_known(typed)
    audit.record_by(caller.actor, "user.login-failed", "user", typed.strip().lower() if known else "unknown")
    return Problem(401, name, detail, field=field)
