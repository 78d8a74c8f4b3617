"""Sealing the audit log: rows are inserted unchained, and main adds a link for each, in the order in which it finds them.

A row is found within two seconds. One whose transaction took long has a lower id than its neighbours that are sealed already;
it gets its link when it appears. Several mains may seal: a link's number is a primary key, so of two that add the same one
fails, and looks again. The chain itself never forks.
"""

from __future__ import annotations

import hmac
import threading
import time

import peewee as pw
import structlog

from messagebroker.db import audit_seals
from messagebroker.db.connection import connected
from messagebroker.db.writing import give_up_connection, kept_connection, writing
from messagebroker.errors import BrokerError
from messagebroker.ops import audit_rows
from messagebroker.ops.audit_head import Head, HeadFile
from messagebroker.ops.audit_recent import Recent
from messagebroker.ops.metrics import AUDIT_CHAIN_BROKEN, AUDIT_SEALED
from messagebroker.settings import Settings

SECONDS = 1.0
"""Between two looks."""
SWEEP_SECONDS = 3600.0
"""Between two looks at the whole log: for what appeared later than all that."""
_LATE = 2000
"""How far below the highest sealed id every look goes."""
_BATCH = 500
_WINDOW = 10_000
_NOTHING = Head(0, audit_rows.NO_LINK.hex())
_log = structlog.get_logger("messagebroker.audit")


def head() -> Head:
    """Of the chain as the database has it; the caller is connected."""
    found = audit_seals.last_seal()
    return _NOTHING if found is None else Head(found[0], found[1].hex())


def head_now() -> Head:
    """The same for callers that are not connected."""
    with connected():
        return head()


class Chain:
    """Adds links, and keeps the head outside.

    Args:
        settings: of the installation.
        stop: ends long work after the batch in hand.

    Raises:
        ConfigurationError: main's secret is not here.
    """

    def __init__(self, settings: Settings, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._key = audit_rows.chain_key(settings)
        self._recent = Recent(self._key)
        self._heads = HeadFile(settings)
        self._kept: Head | None = None  # what the head file says, once it was read
        self._sweep_at = float("-inf")

    def seal(self) -> int:
        """Seals what is new; the number of rows.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: the head file cannot be written.
        """
        with kept_connection():
            self._keep_what_is_ahead()
            self._remove_forged()
            sealed = self._sweep() if time.monotonic() >= self._sweep_at else self._newest()
            self._keep_head()
        AUDIT_SEALED.inc(sealed)
        return sealed

    def _newest(self) -> int:
        sealed = 0
        newest = min(audit_seals.newest_sealed_row(), audit_seals.newest_row())  # a forged seal names any row
        while rows := audit_seals.unsealed(newest - _LATE, None, _BATCH):
            sealed += self._add(rows)
        return sealed

    def _sweep(self) -> int:
        sealed = 0
        for after, until in audit_seals.windows(_WINDOW):
            if self._stop.is_set():
                break
            while rows := audit_seals.unsealed(after, until, _BATCH):
                sealed += self._add(rows)
                self._keep_head()
        self._sweep_at = time.monotonic() + SWEEP_SECONDS
        return sealed

    def _remove_forged(self) -> None:
        """Links that no main made: they keep rows from being sealed."""
        forged = audit_seals.strays(_BATCH) + self._recent.forged()
        if forged:
            AUDIT_CHAIN_BROKEN.set(1)
            _log.error(
                "somebody wrote links into the audit log's chain; they were removed, and their rows are sealed;"
                " run `messagebroker audit verify`",
                number=len(forged),
                links=[f"{seq} of row {row}" for seq, row in forged[:10]],
            )
            with writing():
                audit_seals.remove(forged)

    def _add(self, rows: list[audit_seals.Row]) -> int:
        """All of them, or none where another main was faster: then some of them may have their links."""
        try:
            with writing():
                seq, mac = audit_seals.last_seal(locked=True) or (0, audit_rows.NO_LINK)
                seals = []
                for seq, row in enumerate(rows, seq + 1):  # noqa: B020 - it goes on from the last
                    mac = audit_rows.link(self._key, mac, seq, row)
                    seals.append((seq, int(row["id"]), mac))
                audit_seals.add(seals)
        except pw.IntegrityError:
            self._remove_forged()  # which would be in the way for ever
            return 0
        self._recent.added(zip((seq for seq, _, _ in seals), rows, strict=True))
        return len(rows)

    def _keep_what_is_ahead(self) -> None:
        """Before main adds to it: whoever put a link at the end may take it away again, or have made the last possible one."""
        kept = self._kept or self._heads.last() or _NOTHING
        if head().seq > kept.seq:
            self._keep_head()

    def _keep_head(self) -> None:
        """Writes down where the chain ends, when that follows from what was written before."""
        if head() == self._kept:
            return
        kept = self._heads.last() or _NOTHING
        now = head()  # after the line was read: another main writes its lines after its links
        if not self._follows(kept, now):
            AUDIT_CHAIN_BROKEN.set(1)  # until somebody has looked, and started main again
            _log.error(
                "the audit log in the database does not go on from the head that main kept; run `messagebroker audit verify`",
                kept=kept.seq,
                found=now.seq,
            )
        if now == kept or self._heads.append(now, after=kept):
            self._kept = now

    def _follows(self, kept: Head, now: Head) -> bool:
        """Whether every link between the two is right, or they are one."""
        at, mac = kept.seq, bytes.fromhex(kept.mac)
        if at and audit_seals.seal(at) != mac:
            return False
        while at < now.seq:
            found = audit_seals.sealed(at, _BATCH)
            for seq, _, given, row in found:
                if seq != at + 1 or row is None or not hmac.compare_digest(audit_rows.link(self._key, mac, seq, row), given):
                    return False
                at, mac = seq, given
            if not found:
                return False
        return True


class Chainer:
    """Seals in a thread, as long as main runs."""

    def __init__(self, settings: Settings) -> None:
        self._stop = threading.Event()
        self._chain = Chain(settings, self._stop)
        self._told: str | None = None
        self._thread = threading.Thread(target=self._run, name="audit-chainer", daemon=True)

    def start(self) -> None:
        """Begins at once."""
        self._thread.start()

    def stop(self) -> None:
        """Seals what is there, and ends the thread."""
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stop.wait(SECONDS):
            self._round()
        self._stop.clear()  # what requests wrote last is sealed too
        self._round()
        give_up_connection()

    def _round(self) -> None:
        try:
            self._chain.seal()
        except BrokerError as error:
            if self._told != str(error):
                _log.warning("the audit log is not sealed", error=str(error))
            self._told = str(error)
        except Exception as error:  # noqa: BLE001 (the next round may succeed)
            _log.error("the audit log is not sealed", exc_info=error)
        else:
            self._told = None
