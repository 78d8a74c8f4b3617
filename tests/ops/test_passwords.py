from __future__ import annotations

import re

import pytest

from messagebroker.ops import passwords
from messagebroker.ops.passwords import WeakPassword


def test_hashes_are_argon2id_with_a_salt_each() -> None:
    one, two = passwords.hashed("the same one"), passwords.hashed("the same one")
    assert one != two
    assert one.startswith("$argon2id$")
    assert passwords.matches(one, "the same one")
    assert not passwords.matches(one, "another one")
    assert not passwords.is_outdated(one)


@pytest.mark.parametrize("stored", [None, "", "plain text", "$argon2id$v=19$m=7168,t=5,p=1$broken"])
def test_nobody_and_broken_hashes_match_nothing(stored: str | None) -> None:
    assert passwords.matches(stored, "anything") is False
    assert passwords.matches(stored, "") is False


def test_one_time_passwords_are_good_ones_and_differ() -> None:
    made = {passwords.one_time() for _ in range(100)}
    assert len(made) == 100
    for password in made:
        assert re.fullmatch(r"(?:[a-hjkmnp-z2-9]{4}-){3}[a-hjkmnp-z2-9]{4}", password)
        passwords.check(password, "ada@example.org")


@pytest.mark.parametrize("weak", ["", "eleven char", "x" * 201, "ababababababab", "ADA@example.org", "tab\tin the middle"])
def test_weak_ones(weak: str) -> None:
    with pytest.raises(WeakPassword):
        passwords.check(weak, "ada@example.org")


def test_long_and_foreign_ones_are_fine() -> None:
    for good in ("twelve chars", "пароль из слов", "x1y2z" * 40):
        passwords.check(good, "ada@example.org")
