from __future__ import annotations

import re
import time

import pytest

from messagebroker.ops import passwords
from messagebroker.ops.passwords import WeakPassword


@pytest.mark.usefixtures("real_hashing")
def test_hashes_are_argon2id_with_a_salt_each() -> None:
    one, two = passwords.hashed("the same one"), passwords.hashed("the same one")
    assert one != two
    assert one.startswith("$argon2id$v=19$m=7168,t=5,p=1$")  # as strong as OWASP's first choice
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
        assert passwords.may_be_one_time(password)
        passwords.check(password.replace("-", " "), "ada@example.org")
        with pytest.raises(WeakPassword, match="one of your own"):
            passwords.check(password, "ada@example.org")


@pytest.mark.parametrize("other", ["", "long enough", "ABCD-efgh-jkmn-pqrs", "abcd-efgh-jkmn-pqrs-", "abcl-efgh-jkmn-pqrs"])
def test_other_passwords_do_not_look_like_one_time_ones(other: str) -> None:
    assert not passwords.may_be_one_time(other)
    assert passwords.may_be_one_time("abcd-efgh-jkmn-pqrs")


@pytest.mark.parametrize("weak", ["", "eleven char", "x" * 201, "ababababababab", "ADA@example.org", "tab\tin the middle"])
def test_weak_ones(weak: str) -> None:
    with pytest.raises(WeakPassword):
        passwords.check(weak, "ada@example.org")


@pytest.mark.parametrize(
    "common",
    ["password1234", "Passw0rd2024!", "qwertyuiop123", "iloveyou1234", "1q2w3e4r5t6y", "123456789012", "passwordpassword",
     "ada@example.org", "ada@example.org1", "messagebroker1", "MessageBroker2026"],
)  # fmt: skip
def test_what_people_choose_is_refused(common: str) -> None:
    with pytest.raises(WeakPassword, match="too easy to guess"):
        passwords.check(common, "ada@example.org")


@pytest.mark.clocked
def test_the_longest_password_is_judged_quickly() -> None:
    began = time.perf_counter()
    with pytest.raises(WeakPassword):
        passwords.check("passw0rd" * 25, "ada@example.org")
    assert time.perf_counter() - began < 1


def test_long_and_foreign_ones_are_fine() -> None:
    for good in ("twelve odd chars", "пароль из слов", "x1y2z" * 40):
        passwords.check(good, "ada@example.org")
