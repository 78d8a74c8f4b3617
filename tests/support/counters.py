"""What a block adds to a counter, by its labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from messagebroker.ops.metrics import REGISTRY


def samples(counter: str) -> dict[str, float]:
    """The counter's values by the value of its only label."""
    found = (sample for metric in REGISTRY.collect() for sample in metric.samples if sample.name == counter)
    return {next(iter(sample.labels.values())): sample.value for sample in found}


@contextmanager
def added(counter: str) -> Iterator[dict[str, float]]:
    """Filled when the block ends: how much more there is of each label's value."""
    before, more = samples(counter), {}
    yield more
    more.update(
        {value: now - before.get(value, 0.0) for value, now in samples(counter).items() if now != before.get(value, 0.0)}
    )
