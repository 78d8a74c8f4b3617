"""An audit log with a chain, and people who tamper with it by SQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from messagebroker.db import models
from messagebroker.db.connection import connected, is_mysql
from messagebroker.db.connection import database as bound
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


def unchecked(statement: Callable[[], object]) -> None:
    """Runs it as somebody does who has switched the table's checks off, as everybody can who may write."""
    with connected():
        off, on = "PRAGMA ignore_check_constraints = ON", "PRAGMA ignore_check_constraints = OFF"
        if is_mysql() and "MariaDB" in bound.execute_sql("SELECT VERSION()").fetchone()[0]:
            off, on = "SET check_constraint_checks = 0", "SET check_constraint_checks = 1"
        elif is_mysql():  # its checks are the table's: on again they would look at the rows too
            off, on = "DO 0", "DO 0"
            if _has_check():
                bound.execute_sql("ALTER TABLE audit_seals DROP CHECK audit_seals_chk_1")
        bound.execute_sql(off)
        try:
            statement()
        finally:
            bound.execute_sql(on)


def check_again() -> None:
    """After `unchecked`: tests on MySQL share the table."""
    with connected():
        AuditSeal.delete().where(AuditSeal.seq < 1).execute()
        if is_mysql() and not _has_check():
            bound.execute_sql("ALTER TABLE audit_seals ADD CONSTRAINT audit_seals_chk_1 CHECK (seq > 0)")


def _has_check() -> bool:
    return "CHECK (" in bound.execute_sql("SHOW CREATE TABLE audit_seals").fetchone()[1]
