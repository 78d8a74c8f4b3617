"""Access tokens of people: signed, short-lived, and void as soon as the password changes or the user is disabled."""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Any

import jwt

from messagebroker.db.models import User
from messagebroker.errors import ConfigurationError
from messagebroker.ops import clock, users
from messagebroker.ops.keyring import jwt_key_path
from messagebroker.ops.private_files import read_secret
from messagebroker.settings import Settings

ISSUER = "messagebroker"
AUDIENCE = "messagebroker:main"
_ALGORITHM = "HS256"  # the only one that is accepted, whatever a token's header says
_CLAIMS = ["iss", "aud", "sub", "iat", "exp", "pwd"]


class Tokens:
    """Makes and checks tokens with one secret.

    Args:
        secret: of 32 bytes and more.
        minutes: how long a token lives.
    """

    def __init__(self, secret: bytes, minutes: int) -> None:
        self._secret = secret
        self.seconds = minutes * 60

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
        return cls(secret, settings.token_minutes)

    def issue(self, user: User) -> str:
        """A token for a user who has just shown their password."""
        now = clock.now()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user.id),
            "iat": now,
            "exp": now + timedelta(seconds=self.seconds),
            "pwd": self._mark(user),
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def holder(self, token: str) -> User | None:
        """The user as they are in the database now, None when the token is not good for anybody."""
        claims = self._claims(token)
        if claims is None:
            return None
        user = users.by_id(int(claims["sub"]))
        if user is None or user.disabled_at is not None:
            return None
        return user if hmac.compare_digest(self._mark(user), claims["pwd"]) else None

    def _claims(self, token: str) -> dict[str, Any] | None:
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._secret, algorithms=[_ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options={"require": _CLAIMS}
            )
        except (jwt.InvalidTokenError, ValueError):  # ValueError: bytes that are no text at all
            return None
        pwd = claims["pwd"]
        is_number = claims["sub"].isascii() and claims["sub"].isdecimal() and len(claims["sub"]) < 19  # fits a row's id
        is_ours = is_number and isinstance(pwd, str) and pwd.isascii()
        return claims if is_ours else None

    def _mark(self, user: User) -> str:
        """Changes with the password, and tells nothing about its hash."""
        return hmac.digest(self._secret, b"password " + user.password_hash.encode(), "sha256").hex()[:16]
