"""How often a role was started again after a fall: Windows does not count it, so the service keeps count in its home."""

from __future__ import annotations

import json
from pathlib import Path

from messagebroker.ops.private_files import write_secret

FILE = "service.json"


class Runs:
    """The count in one role's home. A run that did not end in order makes the next one a restart; one that did, resets it."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE

    def began(self) -> None:
        """This run has begun."""
        restarts = self.restarts
        fell = restarts is not None and not self._read().get("ended", True)
        self._write(restarts=(restarts or 0) + 1 if fell else 0, ended=False)

    def ended(self) -> None:
        """This run ends in order."""
        self._write(restarts=self.restarts or 0, ended=True)

    @property
    def restarts(self) -> int | None:
        """Starts after a fall since the last orderly end; None when it never ran, or this account may not look."""
        count = self._read().get("restarts")
        return count if isinstance(count, int) else None

    def _read(self) -> dict[str, object]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, *, restarts: int, ended: bool) -> None:
        write_secret(self._path, json.dumps({"restarts": restarts, "ended": ended}).encode(), overwrite=True)
