"""One's own second factor: setting it up, confirming it, taking it away."""

from __future__ import annotations

from msgspec import Struct, field

from messagebroker.client.auth import AUTH
from messagebroker.client.calls import Call, reader
from messagebroker.client.methods import Method
from messagebroker.client.requests import Caller, get, nothing, send, under

PATH = f"{AUTH}/second-factor"


class SecondFactor(Struct, frozen=True, kw_only=True):
    """Whether there is one, and how many recovery codes are left."""

    active: bool
    recovery_codes_left: int = 0


class NewSecondFactor(Struct, frozen=True, kw_only=True):
    """Shown once: `secret` is typed into an authenticator, or `uri` shown as a QR code."""

    secret: str
    uri: str

    def __repr__(self) -> str:
        return "NewSecondFactor()"  # never the secret itself


class RecoveryCodes(Struct, frozen=True, kw_only=True):
    """Shown once; each stands in for one code."""

    recovery_codes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return "RecoveryCodes()"  # never the codes themselves


def state(caller: Caller) -> Call[SecondFactor]:
    """Whether the caller has one."""
    return get(caller, PATH, _STATE)


def begin(caller: Caller, password: str) -> Call[NewSecondFactor]:
    """A new secret, which counts when it is confirmed."""
    return send(caller, "POST", PATH, _NEW, {"password": password})


def confirm(caller: Caller, code: str) -> Call[RecoveryCodes]:
    """From now on a login needs a code."""
    return send(caller, "POST", under(PATH, "confirm"), _CODES, {"code": code})


def remove(caller: Caller, password: str, code: str) -> Call[None]:
    """From now on a password is enough."""
    return send(caller, "POST", under(PATH, "remove"), nothing, {"password": password, "code": code})


def new_recovery_codes(caller: Caller, password: str, code: str) -> Call[RecoveryCodes]:
    """In place of the earlier ones."""
    return send(caller, "POST", under(PATH, "recovery-codes"), _CODES, {"password": password, "code": code})


class SecondFactorMethods:
    """Of the clients."""

    second_factor = Method(state)
    set_up_second_factor = Method(begin)
    confirm_second_factor = Method(confirm)
    remove_second_factor = Method(remove)
    new_recovery_codes = Method(new_recovery_codes)


_STATE = reader(SecondFactor)
_NEW = reader(NewSecondFactor)
_CODES = reader(RecoveryCodes)
