"""POST /api/v1/auth/refresh and /api/v1/auth/logout, and how tokens are answered."""

from __future__ import annotations

from math import ceil
from typing import Annotated, ClassVar

import falcon
import msgspec

from messagebroker.http.decoding import answer, read_json
from messagebroker.http.main.callers import Caller, Right
from messagebroker.http.openapi import PUBLIC, TOKEN, Operation
from messagebroker.http.problems import Problem
from messagebroker.ops import clock, ids, sessions
from messagebroker.ops.metrics import AUTH_REFUSED
from messagebroker.ops.sessions import Pair, RefreshedMeanwhile, RefreshRefused, Why
from messagebroker.ops.tokens import Tokens

REFRESH_PATH, LOGOUT_PATH = "/api/v1/auth/refresh", "/api/v1/auth/logout"
WAIT = {429: {"Retry-After": "Seconds to wait."}}


class SessionAnswer(msgspec.Struct, kw_only=True):
    """Send `access_token` as `Authorization: Bearer …`. With `must_change_password` it is good for changing the password only.

    `refresh_token` is good once, at POST /api/v1/auth/refresh, for `refresh_expires_in` seconds.
    """

    access_token: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    session_id: str
    must_change_password: bool


class RefreshRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The token that the last answer held."""

    refresh_token: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


def session_answer(tokens: Tokens, pair: Pair) -> SessionAnswer:
    """A pair of tokens as it is sent."""
    return SessionAnswer(
        access_token=pair.access,
        expires_in=tokens.seconds,
        refresh_token=pair.refresh,
        refresh_expires_in=max(0, int((pair.expires_at - clock.now()).total_seconds())),
        session_id=ids.text(pair.session),
        must_change_password=pair.user.must_change_password,
    )


def too_many(wait: float) -> Problem:
    """The 429 for somebody who must wait so many seconds."""
    seconds = str(ceil(wait))
    return Problem(429, "too-many-attempts", f"wait {seconds} seconds and try again", headers={"Retry-After": seconds})


class Refresh:
    """Each refresh token is good once. One that comes a second time, later or from elsewhere, ends the session: two have it."""

    rights: ClassVar = {"POST": Right(anonymous=True)}
    operations: ClassVar = (
        Operation(
            "POST", REFRESH_PATH, "New tokens", RefreshRequest,
            {200: SessionAnswer, 401: None, 403: None, 409: None, 429: None, 503: None}, security=PUBLIC, tag="people",
            description="A 409 `refreshed-meanwhile`: another request from the same address, with the same user agent, used "
            "the token within ten seconds before; the session goes on. Any other token that comes back ends the session.",
        ),
    )  # fmt: skip

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._decoder = msgspec.json.Decoder(RefreshRequest)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """200 with a new pair."""
        given = read_json(request, self._decoder)
        try:
            pair = sessions.refresh(self._tokens, given.refresh_token, actor=request.context.caller.actor)
        except RefreshedMeanwhile as error:
            AUTH_REFUSED.labels("refreshed-meanwhile").inc()
            raise Problem(409, "refreshed-meanwhile", str(error), field="refresh_token") from None
        except RefreshRefused as error:
            raise Problem(401, "refresh-invalid", str(error), field="refresh_token") from None
        answer(response, session_answer(self._tokens, pair))


class Logout:
    """Ends the session of the token that the request carries."""

    rights: ClassVar = {"POST": Right(signed_in=True)}
    operations: ClassVar = (Operation("POST", LOGOUT_PATH, "Log out", responses={204: None}, security=TOKEN, tag="people"),)

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """204; the tokens are void from now on."""
        caller: Caller = request.context.caller
        assert caller.session is not None
        sessions.end(caller.session, Why.LOGOUT, caller.actor)
        response.status = 204
