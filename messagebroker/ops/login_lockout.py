"""What may hold up a login: guesses at passwords, one-time passwords that were drawn, and codes of a second factor."""

from __future__ import annotations

from collections.abc import Callable

from messagebroker.ops import passwords
from messagebroker.ops.limits import Shared
from messagebroker.ops.lockout import ACCOUNT, ADDRESS, PAIR, Lockout


class LoginLockout:
    """Counts the three apart, so that whoever guesses one does not shut the others.

    Args:
        shared: where all processes count.
        is_known: whether an account was used from an address before.
    """

    def __init__(self, shared: Shared, is_known: Callable[[str, str], bool]) -> None:
        self._chosen = Lockout(shared, "login", is_known=is_known)
        self._drawn = Lockout(shared, "login-one-time", scopes=(ADDRESS,))  # 79 bits; the address pays for the hashing
        self.codes = Lockout(shared, "login-code", scopes=(PAIR, ACCOUNT))
        """Only who gave the right password comes so far: strangers do not shut it."""

    def of(self, password: str) -> Lockout:
        """What judges a login with this password: by its form, so that it tells nothing of the account."""
        return self._drawn if passwords.may_be_one_time(password) else self._chosen

    def clear(self, account: str, address: str) -> None:
        """Its owner showed otherwise who they are, from this address."""
        self._chosen.clear(account, address)
        self.codes.clear(account, address)
