"""Passwords: argon2id, what a good one is, one-time ones, and a check that takes the same time for nobody."""

from __future__ import annotations

import re
import secrets
import threading
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
MIN_SCORE = 3
"""Of zxcvbn's 0 to 4: more than a hundred million guesses by somebody who knows what people choose."""
_LOOKED_AT = 72  # characters; the work grows with the square of the length, and what is longer is good already

_ONE_TIME = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
_is_one_time = re.compile(rf"[{_ONE_TIME}]{{4}}(-[{_ONE_TIME}]{{4}}){{3}}").fullmatch

_hasher = PasswordHasher(time_cost=5, memory_cost=7 * 1024, parallelism=1)
"""As strong as OWASP's first choice (19 MiB, twice), with less memory."""

_judging = threading.Lock()  # zxcvbn keeps a person's own words in a table of its module

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
    """A password of 79 bits that people can type."""
    return "-".join("".join(secrets.choice(_ONE_TIME) for _ in range(4)) for _ in range(4))


def may_be_one_time(password: str) -> bool:
    """Whether it looks like one of `one_time`: nobody finds one of those by guessing, and nobody may keep one."""
    return _is_one_time(password) is not None


def check(password: str, email: str) -> None:
    """Whether it may be somebody's password.

    zxcvbn knows 30,000 common passwords, 90,000 words and names, and what people do with them: digits at the end, `0` for
    `o`, keys beside each other, years. The person's own address and this system's name count as common.

    Raises:
        WeakPassword: it is too short or too long, or too easy to guess.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise WeakPassword(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")
    if not password.isprintable():
        raise WeakPassword("a password has no control characters")
    if may_be_one_time(password):
        raise WeakPassword("this is what a one-time password looks like; choose one of your own")
    if len(set(password)) < 5:
        raise WeakPassword("this password is too easy to guess: it repeats a few characters")
    hint = _weakness(password, email)
    if hint is not None:
        raise WeakPassword(f"this password is too easy to guess: {hint}")


def _weakness(password: str, email: str) -> str | None:
    from zxcvbn import zxcvbn  # 13 MiB of words, for those who set passwords

    own = [email, *re.split(r"[^a-z0-9]+", email.lower()), "messagebroker", "message broker"]
    with _judging:
        found = zxcvbn(password[:_LOOKED_AT], user_inputs=[word for word in own if len(word) > 2])
    if found["score"] >= MIN_SCORE:
        return None
    return str(found["feedback"]["warning"] or "add a word or two that have nothing to do with each other").rstrip(".")


def prepare() -> None:
    """Makes the decoy now, so that the first unknown user does not take longer than the first known one."""
    _decoy()


@cache
def _decoy() -> str:
    return hashed(secrets.token_hex(16))
