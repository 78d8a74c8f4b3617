"""The second factor: time-based codes (RFC 6238) that are good once, and recovery codes for a lost authenticator."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

import pyotp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from messagebroker.db.connection import connected
from messagebroker.db.models import RecoveryCode, User
from messagebroker.errors import ConfigurationError, Conflict, Refused
from messagebroker.ops import audit, clock
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change, locked
from messagebroker.ops.keyring import derived_key
from messagebroker.settings import Settings

RECOVERY_CODES = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
_STEP_SECONDS = 30
_NONCE = 12


class WrongCode(Refused):
    """The code is wrong, or was taken before."""


@dataclass(frozen=True)
class Setup:
    """What an authenticator needs; shown once."""

    secret: str
    uri: str


class SecondFactor:
    """Seals the secrets with a key of main's own."""

    def __init__(self, settings: Settings) -> None:
        self._sealing = AESGCM(derived_key(settings, "second factors"))
        self._codes_key = derived_key(settings, "recovery codes")

    def start(self, user: User, actor: Actor) -> Setup:
        """A new secret, which counts once a code of it has been shown.

        Raises:
            Conflict: there is a second factor already.
        """
        secret = pyotp.random_base32()
        with change():
            if _fresh(user).totp_confirmed_at is not None:
                raise Conflict("there is a second factor already; remove it first")
            User.update(totp_secret=self._sealed(user.id, secret), totp_step=None).where(User.id == user.id).execute()
            audit.record_by(actor, "second-factor.start", "user", user.email)
        return Setup(secret, pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name="Message Broker"))

    def confirm(self, user: User, code: str, actor: Actor) -> list[str]:
        """The second factor counts from now on; its recovery codes, shown once.

        Raises:
            Conflict: none was started, or it counts already.
            WrongCode: the code does not belong to it.
        """
        with change():
            fresh = _fresh(user)
            if fresh.totp_secret is None or fresh.totp_confirmed_at is not None:
                raise Conflict("nothing waits to be confirmed; begin with POST /api/v1/auth/second-factor")
            if not self._take_step(fresh, code):
                raise WrongCode("this code does not belong to the new secret; is the clock of your authenticator right?")
            User.update(totp_confirmed_at=clock.now()).where(User.id == user.id).execute()
            audit.record_by(actor, "second-factor.confirm", "user", user.email)
            return self._new_recovery_codes(user)

    def check(self, user: User, code: str, actor: Actor) -> bool:
        """Whether a code, of the authenticator or for recovery, is good; it is taken with that, and never again."""
        with change():
            fresh = _fresh(user)
            if fresh.totp_confirmed_at is None:
                return False
            if self._take_step(fresh, code):
                return True
            if not self._take_recovery_code(fresh, code):
                return False
            left = RecoveryCode.select().where(RecoveryCode.user == user.id, RecoveryCode.used_at.is_null()).count()
            audit.record_by(actor, "second-factor.recovery-code", "user", user.email, {"left": left})
            return True

    def renew_recovery_codes(self, user: User, actor: Actor) -> list[str]:
        """New ones; the old ones are void.

        Raises:
            Conflict: there is no second factor.
        """
        with change():
            if _fresh(user).totp_confirmed_at is None:
                raise Conflict("there is no second factor that they could stand in for")
            audit.record_by(actor, "second-factor.recovery-codes", "user", user.email)
            return self._new_recovery_codes(user)

    def _take_step(self, user: User, code: str) -> bool:
        """One step earlier or later is a clock that is a little wrong."""
        if user.totp_secret is None or not (len(code) == 6 and code.isascii() and code.isdecimal()):
            return False
        generator = pyotp.TOTP(self._opened(user.id, bytes(user.totp_secret)))
        now = _step(clock.now())
        steps = [step for step in (now - 1, now, now + 1) if hmac.compare_digest(generator.generate_otp(step), code)]
        fresh = [step for step in steps if user.totp_step is None or step > user.totp_step]
        if not fresh:
            return False
        User.update(totp_step=fresh[0]).where(User.id == user.id).execute()
        return True

    def _take_recovery_code(self, user: User, code: str) -> bool:
        hashed = self._code_hash(user.id, code)
        unused = (RecoveryCode.user == user.id) & (RecoveryCode.code_hash == hashed) & RecoveryCode.used_at.is_null()
        return bool(RecoveryCode.update(used_at=clock.now()).where(unused).execute())

    def _new_recovery_codes(self, user: User) -> list[str]:
        codes = [
            "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(2)) for _ in range(RECOVERY_CODES)
        ]
        RecoveryCode.delete().where(RecoveryCode.user == user.id).execute()
        RecoveryCode.insert_many([{"user": user.id, "code_hash": self._code_hash(user.id, code)} for code in codes]).execute()
        return codes

    def _code_hash(self, user_id: int, code: str) -> bytes:
        plain = "".join(code.lower().split()).replace("-", "")
        return hmac.digest(self._codes_key, f"{user_id} {plain}".encode(), "sha256")

    def _sealed(self, user_id: int, secret: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._sealing.encrypt(nonce, secret.encode(), str(user_id).encode())

    def _opened(self, user_id: int, sealed: bytes) -> str:
        try:
            return self._sealing.decrypt(sealed[:_NONCE], sealed[_NONCE:], str(user_id).encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise ConfigurationError(
                "a second factor does not open: main's secret (MAIN_SECRET_PATH) is another than it was set up with; bring it "
                "back from a backup, or let people set it up anew (`messagebroker users remove-second-factor EMAIL`)"
            ) from error


def remove(user: User, actor: Actor) -> bool:
    """The password alone counts again; whether there was one."""
    with change():
        had = _fresh(user).totp_secret is not None
        if had:
            User.update(totp_secret=None, totp_confirmed_at=None, totp_step=None).where(User.id == user.id).execute()
            RecoveryCode.delete().where(RecoveryCode.user == user.id).execute()
            audit.record_by(actor, "second-factor.remove", "user", user.email)
    return had


def recovery_codes_left(user: User) -> int:
    """How many have not been used."""
    with connected():
        return int(RecoveryCode.select().where(RecoveryCode.user == user.id, RecoveryCode.used_at.is_null()).count())


def _fresh(user: User) -> User:
    """The row as it is now, and stays until the transaction ends: a code is taken by one request only."""
    found: User = locked(User.select().where(User.id == user.id)).get()
    return found


def _step(moment: datetime) -> int:
    return int(moment.timestamp()) // _STEP_SECONDS
