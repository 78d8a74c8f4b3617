from __future__ import annotations

from collections.abc import Callable

import pytest

from messagebroker.ops import names


@pytest.mark.parametrize(
    ("check", "good"),
    [
        (names.is_name, "a-1.b_c"),
        (names.is_topic, "orders.new/x-1"),
        (names.is_e164, "+4915112345678"),
        (names.is_email, "ada@example.org"),
    ],
)
def test_a_line_end_belongs_to_no_name(check: Callable[[str], object], good: str) -> None:
    assert check(good)
    for wrong in (good + "\n", "\n" + good, good + "\r", good + "\n" + good, good + "\u2028", good + "\0\n", ""):
        assert not check(wrong), wrong


@pytest.mark.parametrize("pattern", [names.NAME, names.TOPIC, names.E164, names.EMAIL])
def test_the_documents_show_patterns_that_every_language_reads(pattern: str) -> None:
    assert pattern.startswith("^")
    assert pattern.endswith(r"$(?!\n)"), "a line end before Python's `$`"
    assert not any(python_only in pattern for python_only in (r"\Z", r"\A", "(?P", "(?#", "\\z"))
