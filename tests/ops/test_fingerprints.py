from __future__ import annotations

import time

import pytest

from messagebroker.ops.fingerprints import fingerprint, kind_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no answer from 192.0.2.7:8443 within 15 s", "no answer from 198.51.100.23:443 within 30 s"),
        ("no answer from [2001:db8::7]:8443 within 15 s", "no answer from [2001:db8:0:1::9]:443 within 1 s"),
        ("cannot resolve shop.example.org", "cannot resolve www.other-shop.example"),
        ("order 0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f is unknown", "order 0190b8e0-7c1e-7cc3-98c4-dc0c0c073990 is unknown"),
        ("refused at 2025-11-22T10:00:00.123Z", "refused at 2026-01-03 23:59:59+01:00"),
        ("550 no mailbox ada@example.org here", "550 no mailbox b.c+d@mail.example.com here"),
        ("took 1.5 s", "took 12.25 s"),
        ("request 4f3a9c0d12 failed", "request 99ab01cdef77 failed"),
        ("cannot reach https://a.example/hook?x=1", "cannot reach http://b.example:8080/"),
        ("Connection   refused", "connection refused"),
    ],
)
def test_what_differs_from_one_time_to_the_next_is_left_out(one: str, other: str) -> None:
    assert kind_of(one) == kind_of(other)
    assert fingerprint("webhook", None, one) == fingerprint("webhook", None, other)


@pytest.mark.parametrize(
    "other",
    [
        ("email", 503, "no answer"),
        ("webhook", 504, "no answer"),
        ("webhook", None, "no answer"),
        ("webhook", 503, "the connection was reset"),
    ],
)
def test_other_kinds_of_failure_are_told_apart(other: tuple[str, int | None, str]) -> None:
    assert fingerprint(*other) != fingerprint("webhook", 503, "no answer")


def test_it_is_sixteen_hexadecimal_digits_that_stay_the_same() -> None:
    """They are in the table: another version of the program must find the same groups."""
    assert fingerprint("webhook", 503, "answered 503 after 12 ms") == "1243a03e6aae4ac0"
    assert len(fingerprint("pull", None, None)) == 16


def test_words_stay() -> None:
    assert kind_of("the certificate of the server is not trusted: dead beef") == (
        "the certificate of the server is not trusted: dead beef"
    )


@pytest.mark.clocked
@pytest.mark.parametrize("part", ["a.", "1:", "a-", "0", "@", "a@", "a+", "[:", "http://", "1."])
def test_a_text_that_a_receiver_wrote_costs_little(part: str) -> None:
    began = time.perf_counter()
    kind_of((part * 500)[:500])
    assert time.perf_counter() - began < 0.1
