"""The releases of the program that a home keeps side by side: the one in use, the one before, and a new one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from messagebroker.ops.services.programs import Answer


class Releases(Protocol):
    """What `upgrade` and `rollback` need of a home. A release is named by a string of the home's own making."""

    def in_use(self) -> str:
        """The release that roles are started from now."""
        ...

    def previous(self) -> str | None:
        """The one that was in use before, where it is kept."""
        ...

    def prepare(self, source: str | None) -> str:
        """Makes the new release beside the one in use, which goes on; its name, which is `in_use()` when nothing is new.

        Raises:
            Refused: it could not be made; nothing is left of it.
        """
        ...

    def ask(self, release: str, words: Sequence[str], *, seconds: float) -> Answer:
        """What `messagebroker WORDS` of that release says, called by the operator in main's home."""
        ...

    def settle(self, release: str) -> None:
        """Brings homes, rights and units into the state that the release wants; everything may still run."""
        ...

    def use(self, release: str, previous: str | None) -> None:
        """From now on roles are started from `release`, and `previous` is the one to go back to."""
        ...

    def tidy(self) -> None:
        """Removes all releases but these two."""
        ...

    def replace(self, role: str, *, seconds: float) -> None:
        """Makes the role run the release in use, whether it runs or not; its processes have `seconds` to stop."""
        ...
