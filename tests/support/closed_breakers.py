"""Breakers that let everything pass."""

from __future__ import annotations


class ClosedBreakers:
    """What the claimer asks of breakers, where none has ever opened."""

    def refresh(self, *, older_than: float = 0.0) -> None:
        return None

    def blocked_until(self, number: int) -> float | None:
        return None

    def may_try(self, number: int) -> int | None:
        return None
