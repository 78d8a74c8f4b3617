"""Passwords: argon2id, what a good one is, one-time ones, and a check that takes the same time for nobody."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from messagebroker.errors import Refused


class WrongPassword(Refused):
    """What was given as the current password is not it."""


class WeakPassword(Refused):
    """This may not be anybody's password; the text says why."""


MIN_LENGTH, MAX_LENGTH = 12, 200

_hasher = PasswordHasher(time_cost=5, memory_cost=7 * 1024, parallelism=1)
"""As strong as OWASP's first choice (19 MiB, twice), with less memory."""

_at_work = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")
"""One thread: the C library keeps what a thread once took, so every server thread would hold these MiB for ever."""


def hashed(password: str) -> str:
    """What the database keeps."""
    return _at_work.submit(_hasher.hash, password).result()


def matches(stored: str | None, password: str) -> bool:
    """Whether the password belongs to the hash. None is nobody's: false, after as much work as any other."""
    against = stored or _decoy()
    try:
        _at_work.submit(_hasher.verify, against, password).result()
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False
    return stored is not None


def is_outdated(stored: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(stored)


def one_time() -> str:
    """A password of 80 bits that people can type."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(4))


def check(password: str, email: str) -> None:
    """Whether it may be somebody's password.

    Raises:
        WeakPassword: it is too short or too long, or repeats the address.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise WeakPassword(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")
    if password.casefold() == email.casefold() or len(set(password)) < 5:
        raise WeakPassword("this password is too easy to guess")
    if not password.isprintable():
        raise WeakPassword("a password has no control characters")


def prepare() -> None:
    """Makes the decoy now, so that the first unknown user does not take longer than the first known one."""
    _decoy()


@cache
def _decoy() -> str:
    return hashed(secrets.token_hex(16))
