"""An audit log with a chain, and people who tamper with it by SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from messagebroker.db import models
from messagebroker.ops import audit, audit_verify
from messagebroker.ops.audit_chain import Chain
from messagebroker.ops.audit_verify import Report
from messagebroker.settings import Settings

AuditEntry: Any = models.AuditEntry
AuditSeal: Any = models.AuditSeal


class Log:
    """Rows are written as every part does, and sealed when a test says so."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.chain = Chain(settings)

    def write(self, count: int = 1, action: str = "test.act") -> None:
        """Rows that nobody has sealed yet."""
        for number in range(count):
            audit.record("cli:test", action, "thing", str(number), "192.0.2.7", "Browser 1", {"number": number})

    def sealed(self, count: int) -> list[int]:
        """The ids of so many new rows, sealed."""
        before = int(AuditEntry.select().count())
        self.write(count)
        self.chain.seal()
        return [row.id for row in AuditEntry.select().order_by(AuditEntry.id).offset(before).limit(count)]

    def verify(self, **more: Path) -> Report:
        return audit_verify.verify(self.settings, **more)  # type: ignore[arg-type]

    def findings(self, **more: Path) -> list[tuple[str, int | None]]:
        """Kind and row of each finding."""
        return [(found.kind, found.row) for found in self.verify(**more).findings]

    @property
    def head_path(self) -> Path:
        return self.settings.path(self.settings.audit_head_path)


def seals() -> list[tuple[int, int]]:
    """Number and row, in order."""
    return [(seal.seq, seal.audit_id) for seal in AuditSeal.select().order_by(AuditSeal.seq)]
