"""Access tokens of people: signed, short-lived, and void as soon as their session or the password ends.

Refresh tokens too: each is good once, and carries a proof that it was made here, so that a forged one ends nobody's session.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt

from messagebroker.db.connection import connected
from messagebroker.db.models import Session, User
from messagebroker.errors import ConfigurationError
from messagebroker.ops import clock
from messagebroker.ops.keyring import jwt_key_path
from messagebroker.ops.private_files import read_secret
from messagebroker.settings import Settings

ISSUER = "messagebroker"
AUDIENCE = "messagebroker:main"
_ALGORITHM = "HS256"  # the only one that is accepted, whatever a token's header says
_CLAIMS = ["iss", "aud", "sub", "sid", "iat", "exp", "pwd"]
_ID, _RANDOM, _PROOF = 16, 24, 16  # bytes of a refresh token


@dataclass(frozen=True)
class Holder:
    """Whose token it is, and of which session."""

    user: User
    session: bytes


class Tokens:
    """Makes and checks tokens with one secret.

    Args:
        secret: of 32 bytes and more.
        minutes: how long an access token lives.
        idle: how long a session lives without a refresh.
        longest: how long it lives at all.
    """

    def __init__(
        self, secret: bytes, minutes: int, *, idle: timedelta = timedelta(days=7), longest: timedelta = timedelta(days=30)
    ) -> None:
        self._secret = secret
        self.seconds = minutes * 60
        self.idle = idle
        self.longest = longest

    @classmethod
    def load(cls, settings: Settings) -> Tokens:
        """With JWT_SECRET, or outside production with the generated file in DATA_DIR/secrets.

        Raises:
            ConfigurationError: there is no secret, or a short one.
        """
        if settings.jwt_secret is not None:
            secret = settings.jwt_secret.get_secret_value().encode()
        elif settings.environment == "production":
            raise ConfigurationError("JWT_SECRET is not set; production needs one (`openssl rand -hex 32`)")
        else:
            secret = read_secret(jwt_key_path(settings)).strip()
        if len(secret) < 32:
            raise ConfigurationError("JWT_SECRET has under 32 characters; `openssl rand -hex 32` makes a good one")
        idle, longest = timedelta(hours=settings.session_idle_hours), timedelta(days=settings.session_days)
        return cls(secret, settings.token_minutes, idle=idle, longest=longest)

    def issue(self, user: User, session: bytes) -> str:
        """An access token for a user in a session of theirs."""
        now = clock.now()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user.id),
            "sid": session.hex(),
            "iat": now,
            "exp": now + timedelta(seconds=self.seconds),
            "pwd": self._mark(user),
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def holder(self, token: str) -> Holder | None:
        """The user as they are in the database now, None when the token is not good for anybody."""
        claims = self._claims(token)
        if claims is None:
            return None
        session = bytes.fromhex(claims["sid"])
        query = (
            Session.select(Session.id, Session.user, User)
            .join(User)
            .where(
                Session.id == session,
                Session.ended_at.is_null(),
                Session.expires_at > clock.now(),
                User.id == int(claims["sub"]),
                User.disabled_at.is_null(),
            )
        )
        with connected():
            found = query.first()
        if found is None or not hmac.compare_digest(self._mark(found.user), claims["pwd"]):
            return None
        return Holder(found.user, session)

    def new_refresh(self, session: bytes) -> str:
        """A refresh token of a session."""
        content = session + secrets.token_bytes(_RANDOM)
        return base64.urlsafe_b64encode(content + self._proof(content)).decode()

    def session_of(self, refresh: str) -> bytes | None:
        """The session that a refresh token was made for, None when it was not made here."""
        try:
            content = base64.b64decode(refresh, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        made_here = len(content) == _ID + _RANDOM + _PROOF and hmac.compare_digest(
            content[-_PROOF:], self._proof(content[:-_PROOF])
        )
        return content[:_ID] if made_here else None

    def _proof(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, b"refresh " + content, "sha256")[:_PROOF]

    def _claims(self, token: str) -> dict[str, Any] | None:
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._secret, algorithms=[_ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options={"require": _CLAIMS}
            )
        except (jwt.InvalidTokenError, ValueError):  # ValueError: bytes that are no text at all
            return None
        pwd, sid = claims["pwd"], claims["sid"]
        is_number = claims["sub"].isascii() and claims["sub"].isdecimal() and len(claims["sub"]) < 19  # fits a row's id
        is_session = isinstance(sid, str) and len(sid) == 2 * _ID and not set(sid) - set("0123456789abcdef")
        is_ours = is_number and is_session and isinstance(pwd, str) and pwd.isascii()
        return claims if is_ours else None

    def _mark(self, user: User) -> str:
        """Changes with the password, and tells nothing about its hash."""
        return hmac.digest(self._secret, b"password " + user.password_hash.encode(), "sha256").hex()[:16]
