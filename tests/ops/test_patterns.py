from __future__ import annotations

import random
import re
import time

import pytest

from messagebroker.ops.patterns import MOST_PATTERNS, compiled, matches


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("orders.new", "orders.new", True),
        ("orders.new", "ordersxnew", False),
        ("orders.*", "orders.new.eu", True),
        ("orders.*", "orders", False),
        ("*", "anything/at-all", True),
        ("*.new", "orders.new", True),
        ("*.new", "orders.new.eu", False),
        ("*a*ab", "aab", True),
        ("*a*ab", "ab", False),
        ("a*b*b", "ab", False),
        ("a*b*b", "abxb", True),
    ],
)
def test_a_star_stands_for_anything(pattern: str, topic: str, fits: bool) -> None:
    assert matches(pattern, topic) == fits


def test_it_says_the_same_as_a_search_that_tries_everything() -> None:
    draw = random.Random(7)
    for _ in range(3000):
        pattern = re.sub(r"\*+", "*", "".join(draw.choices("ab*", k=draw.randint(1, 7))))
        topic = "".join(draw.choices("ab", k=draw.randint(0, 8)))
        expected = re.fullmatch(pattern.replace("*", ".*"), topic) is not None
        assert matches(pattern, topic) == expected, (pattern, topic)


@pytest.mark.clocked
def test_no_topic_keeps_patterns_busy() -> None:
    """Senders choose topics, and each is looked at for every subscription."""
    topic = "a" * 200
    patterns = [compiled(f"*{'a' * (1 + number % 3)}*a*{number}") for number in range(MOST_PATTERNS)]
    began = time.perf_counter()
    assert not any(pattern.fullmatch(topic) for pattern in patterns)
    assert time.perf_counter() - began < 0.05, "trying everything takes a quarter of a second"
