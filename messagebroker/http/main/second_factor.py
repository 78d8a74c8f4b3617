"""/api/v1/auth/second-factor: a person sets up, confirms and removes their authenticator."""

from __future__ import annotations

from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.db.models import User
from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.main.login import Code
from messagebroker.http.main.tokens import WAIT, too_many
from messagebroker.http.openapi import TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import passwords, second_factor
from messagebroker.ops.lockout import Lockout
from messagebroker.ops.passwords import MAX_LENGTH
from messagebroker.ops.second_factor import SecondFactor, WrongCode

PATH = "/api/v1/auth/second-factor"
GivenPassword = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LENGTH)]


class PasswordProof(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A token alone, which may be stolen, changes no second factor."""

    password: GivenPassword


class FullProof(PasswordProof, forbid_unknown_fields=True, kw_only=True):
    """The password, and a code of the authenticator or for recovery."""

    code: Code


class CodeProof(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The first code of the new authenticator."""

    code: Code


class SecondFactorState(msgspec.Struct, kw_only=True):
    """Whether there is one, and how many recovery codes are left."""

    active: bool
    recovery_codes_left: int


class SetupAnswer(msgspec.Struct, kw_only=True):
    """Shown only now: type `secret` into an authenticator, or show `uri` as a QR code."""

    secret: str
    uri: str


class RecoveryCodes(msgspec.Struct, kw_only=True):
    """Shown only now. Each stands in for one code of the authenticator."""

    recovery_codes: list[str]


class _Guarded:
    """Passwords and codes that come here are guesses like any other."""

    def __init__(self, second: SecondFactor, lockout: Lockout) -> None:
        self._second = second
        self._lockout = lockout

    def _attempt(self, caller: Caller) -> User:
        assert caller.person is not None
        wait = self._lockout.begin(caller.person.email, str(caller.address))
        if wait > 0:
            raise too_many(wait)
        return caller.person

    def _wrong(self, caller: Caller, user: User, field: str) -> Problem:
        self._lockout.failed(user.email, str(caller.address))
        return Problem(403, f"wrong-{field}", f"the {field} is wrong", field=field)

    def _prove(self, caller: Caller, password: str, code: str | None) -> User:
        """The person, when password and code are theirs.

        Raises:
            Problem: 429, or 403 for what is wrong.
        """
        user = self._attempt(caller)
        if not passwords.matches(user.password_hash, password):
            raise self._wrong(caller, user, "password")
        if code is not None and not self._second.check(user, code, caller.actor):
            raise self._wrong(caller, user, "code")
        self._lockout.succeeded(user.email, str(caller.address))
        return user


class MySecondFactor(_Guarded):
    """Time-based codes, as every authenticator makes them."""

    rights: ClassVar = {"GET": Right(signed_in=True), "POST": Right(signed_in=True)}
    operations: ClassVar = (
        Operation("GET", PATH, "My second factor", responses={200: SecondFactorState}, security=TOKEN, tag="people"),
        Operation(
            "POST", PATH, "Begin a second factor", PasswordProof, {200: SetupAnswer, 409: None, 429: None}, security=TOKEN,
            tag="people", response_headers=WAIT, description="It counts after POST …/confirm with its first code.",
        ),
    )  # fmt: skip

    _decoder = msgspec.json.Decoder(PasswordProof)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Whether there is one."""
        person: User = request.context.caller.person
        active = person.totp_confirmed_at is not None
        left = second_factor.recovery_codes_left(person) if active else 0
        answer(response, SecondFactorState(active=active, recovery_codes_left=left))

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """200 with a new secret."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        setup = self._second.start(self._prove(caller, given.password, None), caller.actor)
        answer(response, SetupAnswer(secret=setup.secret, uri=setup.uri))


class ConfirmSecondFactor(_Guarded):
    """The first code shows that the authenticator works."""

    rights: ClassVar = {"POST": Right(signed_in=True)}
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/confirm", "Confirm the second factor", CodeProof, {200: RecoveryCodes, 409: None, 429: None},
            security=TOKEN, tag="people", response_headers=WAIT,
        ),
    )  # fmt: skip

    _decoder = msgspec.json.Decoder(CodeProof)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """200 with recovery codes."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        user = self._attempt(caller)
        try:
            codes = self._second.confirm(user, given.code, caller.actor)
        except WrongCode:
            raise self._wrong(caller, user, "code") from None
        self._lockout.succeeded(user.email, str(caller.address))
        answer(response, RecoveryCodes(recovery_codes=codes))


class RemoveSecondFactor(_Guarded):
    """A POST, since a DELETE has no body for the proof."""

    rights: ClassVar = {"POST": Right(signed_in=True)}
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/remove", "Remove my second factor", FullProof, {204: None, 429: None}, security=TOKEN,
            tag="people", response_headers=WAIT,
        ),
    )  # fmt: skip

    _decoder = msgspec.json.Decoder(FullProof)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """204."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        second_factor.remove(self._prove(caller, given.password, given.code), caller.actor)
        response.status = 204


class NewRecoveryCodes(_Guarded):
    """The old ones are void."""

    rights: ClassVar = {"POST": Right(signed_in=True)}
    operations: ClassVar = (
        Operation(
            "POST", PATH + "/recovery-codes", "New recovery codes", FullProof, {200: RecoveryCodes, 409: None, 429: None},
            security=TOKEN, tag="people", response_headers=WAIT,
        ),
    )  # fmt: skip

    _decoder = msgspec.json.Decoder(FullProof)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """200 with recovery codes."""
        caller: Caller = request.context.caller
        given = read_json(request, self._decoder)
        user = self._prove(caller, given.password, given.code)
        answer(response, RecoveryCodes(recovery_codes=self._second.renew_recovery_codes(user, caller.actor)))
