"""The head of the audit chain, kept outside the database: a file that main appends to, and backups' manifests.

Who can change the database can cut off the end of the chain; that is seen only by comparing with a head that was kept
elsewhere. Each line of the file is authenticated together with the line before it, so that none can be changed, added or taken
out of the middle; only its end can be cut off, and then the next older head, or that of a backup, still tells.
"""

from __future__ import annotations

import hmac
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from messagebroker.errors import ConfigurationError, NotFound
from messagebroker.ops import clock
from messagebroker.ops.audit_rows import chain_key
from messagebroker.ops.private_files import exclusive
from messagebroker.settings import Settings

_LARGEST = 64 * 1024 * 1024
_TAIL = 4096
_FIRST = "0" * 64


class Head(msgspec.Struct, frozen=True):
    """The last link of the chain at some moment."""

    seq: int  # 0: nothing is sealed
    mac: str  # hexadecimal


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    seq: int
    mac: str
    at: datetime
    anew: str | None = None  # why the chain goes on from this head, whatever was before: "backup X was restored"


class _Line(msgspec.Struct, frozen=True):
    body: msgspec.Raw
    link: str


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A head that was kept, as a line of the file says."""

    head: Head
    at: datetime
    anew: str | None
    line: int


@dataclass(frozen=True)
class Bad:
    """A line that is not as it was written, or whose predecessors are not."""

    line: int
    what: str
    by_crash: bool = False  # as a crash leaves it; the line after it says whether it was that


class HeadFile:
    """The file; several processes may append to it.

    Args:
        settings: of the installation: they say where the file is, and where the secret.
        path: of a copy that was kept elsewhere.
    """

    def __init__(self, settings: Settings, path: Path | None = None) -> None:
        self.path = settings.path(settings.audit_head_path) if path is None else path
        self._key = chain_key(settings)

    def append(self, head: Head, *, after: Head | None = None, anew: str | None = None) -> bool:
        """Adds a line, on the disk when this returns.

        Args:
            head: of the chain.
            after: what the last line must say; False is returned when another process was faster.
            anew: why the chain goes on from there, whatever was before.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        body = msgspec.json.encode(_Body(head.seq, head.mac, clock.now(), anew))
        try:
            with exclusive(self.path):
                self._make_room()
                tail = self._tail()
                if after is not None and (_last_head(tail) or after) != after:
                    return False
                line = msgspec.json.encode(_Line(msgspec.Raw(body), self._link(_last_link(tail), body)))
                begin = b"" if not tail or tail.endswith(b"\n") else b"\n"  # the line before was cut off by a crash
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
                with os.fdopen(os.open(self.path, flags, 0o600), "ab") as file:
                    file.write(begin + line + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                return True
        except OSError as error:
            raise ConfigurationError(f"AUDIT_HEAD_PATH {self.path} cannot be written: {error.strerror}") from error

    def last(self) -> Head | None:
        """The head of the last whole line; None: there is none."""
        return _last_head(self._tail())

    def lines(self) -> Iterator[Kept | Bad]:
        """Everything that is in the file, and in the one before it that grew too large.

        Raises:
            NotFound: there is no such file.
        """
        if not self.path.exists():
            raise NotFound(f"there is no head file {self.path}")
        for path in (self._older, self.path):
            if path.exists():
                yield from self._lines(path)

    def is_authentic(self) -> bool:
        """False when a line was changed, or the file was written under another main's secret."""
        return not self.path.exists() or not any(isinstance(one, Bad) and not one.by_crash for one in self.lines())

    @property
    def _older(self) -> Path:
        return self.path.with_name(self.path.name + ".1")

    def _lines(self, path: Path) -> Iterator[Kept | Bad]:
        before = _FIRST
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                line = _decoded(text)
                if line is None:
                    yield Bad(number, "is damaged", by_crash=True)
                    continue
                if not hmac.compare_digest(line.link, self._link(before, bytes(line.body))):
                    yield Bad(number, "was changed, or lines before it were taken out")
                else:
                    body = msgspec.json.decode(line.body, type=_Body)
                    yield Kept(head=Head(body.seq, body.mac), at=body.at, anew=body.anew, line=number)
                before = line.link

    def _link(self, before: str, body: bytes) -> str:
        return hmac.digest(self._key, b"head file\n" + before.encode() + body, "sha256").hex()

    def _make_room(self) -> None:
        if self.path.exists() and self.path.stat().st_size > _LARGEST:
            self.path.replace(self._older)

    def _tail(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                return file.read()
        except FileNotFoundError:
            return b""


def begin_anew(settings: Settings, head: Head, why: str, aside: Path) -> Path | None:
    """Writes down that the chain goes on from this head, whatever was before, and why.

    A file that was written under another main's secret, or changed, would only mislead: it goes into the folder `aside`, and
    its new path is returned.
    """
    file = HeadFile(settings)
    moved = None
    if not file.is_authentic():
        aside.mkdir(parents=True, exist_ok=True, mode=0o700)
        moved = aside / file.path.name
        shutil.move(file.path, moved)
    file.append(head, anew=why)
    return moved


def _last_head(tail: bytes) -> Head | None:
    line = _last(tail)
    if line is None:
        return None
    body = msgspec.json.decode(line.body, type=_Body)
    return Head(body.seq, body.mac)


def _last_link(tail: bytes) -> str:
    line = _last(tail)
    return _FIRST if line is None else line.link


def _last(tail: bytes) -> _Line | None:
    return next((line for text in reversed(tail.split(b"\n")) if (line := _decoded(text))), None)


def _decoded(text: bytes) -> _Line | None:
    try:
        line = msgspec.json.decode(text, type=_Line)
        msgspec.json.decode(line.body, type=_Body)
        line.link.encode("ascii")
    except (msgspec.DecodeError, ValueError):
        return None
    return line
