"""Proving that the audit log is as it was written: the chain along all rows, and the newest head that was kept outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from messagebroker.errors import NotFound
from messagebroker.ops import audit, audit_chain, audit_head, audit_rows, backup, clock
from messagebroker.ops.archive import Archive, Manifest
from messagebroker.ops.audit import Actor
from messagebroker.ops.audit_head import Bad, Head, HeadFile, Kept
from messagebroker.ops.audit_walk import Finding, Kind, Walk
from messagebroker.settings import Settings

MOST = 1000
"""Findings that are kept one by one."""


class Proven(msgspec.Struct, kw_only=True):
    """What a head outside the database vouches for: up to there the findings are all that was changed, removed or inserted."""

    rows: int
    first_row: int
    last_row: int
    since: datetime
    until: datetime
    head: str  # where it was kept


class Report(msgspec.Struct, kw_only=True):
    """What verifying found."""

    good: bool
    sealed: int
    unsealed: int
    unproven: int  # sealed after the newest head outside
    proven: Proven | None
    findings: list[Finding]  # the first MOST
    findings_total: int
    notes: list[str]


@dataclass(frozen=True)
class _Claim:
    head: Head
    at: datetime
    source: str


def verify(
    settings: Settings,
    *,
    head_file: Path | None = None,
    from_backup: Path | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Report:
    """Goes along the whole chain.

    Args:
        settings: of the installation; the models are bound to its database.
        head_file: a copy of the head file that was kept elsewhere; its heads count beside those that are here.
        from_backup: a backup whose head counts too; those in BACKUP_DIR do anyway.
        progress: is told how many of how many rows are done.

    Raises:
        ConfigurationError: main's secret is not here.
        NotFound: a file that was named is not there.
    """
    outside = _Outside(settings, head_file, from_backup)
    claims = outside.claims  # read before the rows: main goes on sealing
    walk = Walk(
        audit_rows.chain_key(settings), audit_rows.signing_key(settings), frozenset(c.head.seq for c in claims), progress
    )
    walk.go()
    findings = [*outside.findings, *walk.findings]
    matching = [claim for claim in claims if claim.head.seq and walk.seen.get(claim.head.seq) == claim.head.mac]
    best = max(matching, key=lambda claim: claim.head.seq, default=None)
    findings += _differing(claims, walk, best)
    proven_seq = best.head.seq if best else 0
    return Report(
        good=not findings,
        sealed=walk.rows,
        unsealed=walk.unsealed,
        unproven=max(0, walk.head.seq - proven_seq),
        proven=_proven(walk, best),
        findings=findings[:MOST],
        findings_total=len(findings),
        notes=[*outside.notes, *_notes(walk, best)],
    )


def _differing(claims: list[_Claim], walk: Walk, best: _Claim | None) -> Iterator[Finding]:
    """The newest head that the database does not have; older ones than it that differ say the same."""
    wrong = [claim for claim in claims if claim.head.seq and walk.seen.get(claim.head.seq) != claim.head.mac]
    newest = max(wrong, key=lambda claim: claim.head.seq, default=None)
    if newest is None:
        return
    since = best.head.seq if best else 0
    if newest.head.seq > walk.head.seq:
        kind: Kind = "removed"
        what = (
            f"the last {newest.head.seq - walk.head.seq:,} links of the chain and their rows were removed, or an older database"
            f" was brought back by other means than `messagebroker backup restore`: {newest.source} has link {newest.head.seq},"
            f" the database ends with {walk.head.seq}"
        )
    else:
        kind = "head-differs"
        what = f"link {newest.head.seq} is another one than {newest.source} has: what comes after link {since} was written anew"
    yield Finding(kind=kind, what=what, seq=newest.head.seq, after=walk.times.get(since), before=newest.at)


def _proven(walk: Walk, best: _Claim | None) -> Proven | None:
    if best is None or walk.first is None:
        return None
    until = walk.times.get(best.head.seq)
    removed = sum(1 for found in walk.findings if found.kind == "removed" and (found.seq or 0) <= best.head.seq)
    return Proven(
        rows=best.head.seq - removed,
        first_row=walk.first[0],
        last_row=walk.row_at.get(best.head.seq, walk.first[0]),
        since=walk.first[1],
        until=until or best.at,
        head=best.source,
    )


def accept(settings: Settings, actor: Actor, reason: str) -> Path | None:
    """Has the log go on from where it ends now, after people have looked into what `verify` said of its end.

    For a database that was brought back by other means than a restore. Rows that were changed or removed stay findings.
    A head file that is not authentic is moved aside; its new path is returned.
    """
    why = f"the log was accepted as it is by {actor.name} ({reason})"
    aside = HeadFile(settings).path.parent / f"audit_head_{clock.now():%Y%m%d_%H%M%S}"
    moved = audit_head.begin_anew(settings, audit_chain.head_now(), why, aside)
    audit.record_by(actor, "audit.accept", "audit", "log", {"reason": reason})
    return moved


def _notes(walk: Walk, best: _Claim | None) -> Iterator[str]:
    if walk.rows and walk.rows == sum(1 for found in walk.findings if found.kind == "changed"):
        yield (
            "no link fits main's secret: another secret sealed this log, perhaps on another machine (a restore with the"
            " recovery key brings it along)"
        )
    if best is None and walk.head.seq:
        yield "no head outside the database is known, so rows at the end could have been cut off: nothing would tell"
    if walk.unsealed:
        yield f"{walk.unsealed:,} rows are not sealed yet; main seals them within two seconds when it runs"
    if walk.unsigned:
        yield f"{walk.unsigned:,} rows are older than signatures: the chain vouches for them since they were sealed"


class _Outside:
    """What was kept outside the database: heads that must be in it, without those that restores made void."""

    def __init__(self, settings: Settings, head_file: Path | None, from_backup: Path | None) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self._restores: list[Kept] = []
        self._void: set[Head] = set()
        own = self._file(HeadFile(settings), required=False)
        copy = self._file(HeadFile(settings, head_file), required=True) if head_file else []
        self.claims = self._standing(own, "the head file")
        self.claims += [c for c in self._standing(copy, str(head_file)) if not self._is_void(c)]
        self._add_backups(settings, from_backup)

    def _file(self, file: HeadFile, *, required: bool) -> list[Kept]:
        try:
            lines = list(file.lines())
        except NotFound:
            if required:
                raise
            self.notes.append(f"there is no head file {file.path}")
            return []
        for bad in (line for line in lines if isinstance(line, Bad)):
            if bad.by_crash:
                self.notes.append(f"line {bad.line} of {file.path} is damaged, as a crash in the middle of writing leaves it")
            else:
                self.findings.append(Finding(kind="head-file", what=f"line {bad.line} of {file.path} {bad.what}"))
        kept = [line for line in lines if isinstance(line, Kept)]
        known = {(one.at, one.anew) for one in self._restores}
        new = [one for one in kept if one.anew is not None and (one.at, one.anew) not in known]
        self._restores += new
        self.notes += [f"on {one.at:%Y-%m-%d %H:%M:%S} UTC {one.anew}: the log goes on from link {one.head.seq}" for one in new]
        return kept

    def _standing(self, kept: list[Kept], source: str) -> list[_Claim]:
        """The file's heads in order. Where the log was begun anew, that head stands for it, and those before it are void."""
        standing: list[Kept] = []
        went_back: list[Finding] = []
        for one in kept:
            if one.anew is not None:
                self._void |= {earlier.head for earlier in standing}
                standing.clear()
                self.notes += [f"before that {found.what}" for found in went_back]
                went_back.clear()
            elif standing and one.head.seq < standing[-1].head.seq:
                last = standing[-1]
                went_back.append(
                    Finding(
                        kind="went-back",
                        what=f"the chain went back from link {last.head.seq} to {one.head.seq} without a restore"
                        f" (line {one.line} of {source})",
                        after=last.at,
                        before=one.at,
                        seq=one.head.seq,
                    )
                )
                while standing and standing[-1].head.seq > one.head.seq:
                    standing.pop()
            standing.append(one)
        self.findings += went_back
        return [_Claim(one.head, one.at, f"{source} of {one.at:%Y-%m-%d %H:%M:%S} UTC") for one in standing]

    def _is_void(self, claim: _Claim) -> bool:
        """Whether the log was begun anew after it, as by a restore, from a head that was written down."""
        return claim.head in self._void or any(one.at >= claim.at for one in self._restores)

    def _add_backups(self, settings: Settings, named: Path | None) -> None:
        manifests: list[tuple[str, Manifest]] = [
            (one.path.name, one.manifest) for one in backup.list_all(settings) if one.manifest is not None
        ]
        if named is not None:
            with Archive(named) as archive:
                manifests.append((named.name, archive.manifest))
            if archive.manifest.audit_head is None:
                self.notes.append(f"{named.name} was made by a program that wrote no head into backups")
        for name, manifest in manifests:
            if manifest.audit_head is not None:
                claim = _Claim(manifest.audit_head, manifest.created_at, f"the backup {name}")
                if not self._is_void(claim):
                    self.claims.append(claim)
