"""The file format of a backup: a zip whose manifest names every member with its SHA-256; written and read as a stream."""

from __future__ import annotations

import errno
import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from messagebroker.errors import Conflict, NotFound, Refused
from messagebroker.ops import recovery
from messagebroker.ops.audit_head import Head

FORMAT = 1
MANIFEST = "manifest.json"
SEALED = ".sealed"
"""What the name of a member ends in that only the recovery key opens."""
CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)

Progress = Callable[[str, int, int | None], None]
"""Called as (what is being done, bytes so far, bytes in all if known)."""


def silent(what: str, done: int, total: int | None) -> None:
    """The progress of callers that show none."""


class Member(msgspec.Struct, frozen=True):
    """One file inside the backup, as it is after unpacking."""

    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself."""

    format: int = FORMAT
    created_at: datetime
    version: str  # of the program
    host: str
    database: str  # "mysql" or "sqlite"
    server: str  # the database server's version
    dump: str  # the member that holds the database
    schema: list[str]  # migrations that it has
    rows: dict[str, int]  # table -> rows in the dump
    recovery_key: str | None  # id of the key that opens the sealed members; None: nothing is sealed
    members: dict[str, Member]
    audit_head: Head | None = None  # where the audit log's chain was; None: the program that made it did not say
    master_keys: list[str] | None = None  # ids of those that data keys in the dump are sealed to; None: as above


class Writer:
    """Writes NAME.partial, readable by its owner only; `finish` gives it its name."""

    def __init__(self, path: Path, key: X25519PublicKey | None) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.key = key
        self.members: dict[str, Member] = {}

    def __enter__(self) -> Self:
        try:
            handle = os.open(self.partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o600)
        except FileExistsError:
            raise Conflict(f"{self.partial} exists: another backup is being made; remove the file if that is not so") from None
        self._file = os.fdopen(handle, "w+b")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        return self

    @contextmanager
    def member(self, name: str) -> Iterator[IO[bytes]]:
        """A stream to write the member's bytes to."""
        with self._zip.open(name, "w", force_zip64=True) as inside:
            hashing = _Hashing(inside)
            yield hashing  # type: ignore[misc]  # all that is needed of IO is `write`
        self.members[name] = Member(sha256=hashing.sha256.hexdigest(), size=hashing.size)

    def add(self, name: str, data: bytes) -> None:
        """A small member as it is."""
        with self.member(name) as stream:
            stream.write(data)

    def add_sealed(self, name: str, data: bytes) -> None:
        """A small member that only the private half of the recovery key opens."""
        assert self.key is not None
        self.add(name + SEALED, recovery.seal(self.key, name, data))

    def finish(self, manifest: Manifest) -> None:
        """Writes the manifest and brings everything to the disk."""
        self._zip.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        self._zip.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            with suppress(OSError, ValueError):  # what the zip would add on closing no longer matters
                self._zip.close()
            with suppress(OSError):  # of what it holds back when the disk is full
                self._file.close()
            self.partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise Refused(
                f"there is no room for {self.path.name} on the disk of {self.path.parent}; free some space, or set BACKUP_DIR"
                " to a folder on a larger disk"
            ) from error


class _Hashing:
    def __init__(self, inner: IO[bytes]) -> None:
        self.inner = inner
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return self.inner.write(data)


class Archive:
    """A backup that is read.

    Raises:
        NotFound: there is no such file.
        Refused: it is no backup, cut short, or of a newer program.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise NotFound(f"there is no backup {path}; `messagebroker backup list` shows those that exist") from None
        except (zipfile.BadZipFile, OSError) as error:
            raise Refused(f"{path} is cut short or no backup at all ({error}); take another one") from error
        try:
            self.manifest = self._read_manifest()
        except BaseException:
            self._zip.close()
            raise

    def _read_manifest(self) -> Manifest:
        try:
            text = self._zip.read(MANIFEST)
            version = msgspec.json.decode(text, type=_FormatOnly).format
            if version > FORMAT:
                raise Refused(
                    f"{self.path} has backup format {version}, this program reads {FORMAT}; install the newer version"
                )
            return msgspec.json.decode(text, type=Manifest)
        except KeyError:
            raise Refused(f"{self.path} has no {MANIFEST}: it was not made by `messagebroker backup create`") from None
        except (msgspec.DecodeError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise Refused(f"{MANIFEST} in {self.path} is damaged ({error}); take another backup") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._zip.close()

    def open(self, name: str) -> IO[bytes]:
        """A stream of the member's bytes."""
        return self._zip.open(name)

    def read(self, name: str) -> bytes:
        """All of a small member."""
        return self._zip.read(name)

    def check(self, progress: Progress = silent) -> None:
        """Reads everything and compares it with the manifest.

        Raises:
            Refused: a member is missing, too many, changed, or the dump has no end.
        """
        found = set(self._zip.namelist()) - {MANIFEST}
        if missing := sorted(set(self.manifest.members) - found):
            raise Refused(f"{self.path} lacks {', '.join(missing)}; take another backup")
        if extra := sorted(found - set(self.manifest.members)):
            raise Refused(f"{self.path} holds {', '.join(extra)}, which its manifest does not name; it was changed")
        done, total = 0, sum(member.size for member in self.manifest.members.values())
        for name in self.manifest.members:
            done = self._check_member(name, done, total, progress)

    def _check_member(self, name: str, done: int, total: int, progress: Progress) -> int:
        sha256, tail = hashlib.sha256(), b""
        try:
            with self.open(name) as stream:
                while chunk := stream.read(CHUNK):
                    sha256.update(chunk)
                    tail = (tail + chunk)[-200:]
                    done += len(chunk)
                    progress("checking", done, total)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise Refused(f"{name} in {self.path} is damaged ({error}); take another backup") from error
        if sha256.hexdigest() != self.manifest.members[name].sha256:
            raise Refused(f"{name} in {self.path} was changed: its SHA-256 is not the manifest's; take another backup")
        if name == self.manifest.dump and self.manifest.database == "mysql" and b"-- Dump completed" not in tail:
            raise Refused(f"{name} in {self.path} does not end in `-- Dump completed`: the dump was cut short")
        return done

    def unseal_all(self, key: X25519PrivateKey) -> dict[str, bytes]:
        """Every sealed member, opened, by the name that it has without the seal.

        Raises:
            Refused: another recovery key sealed them, or they were changed.
        """
        given = recovery.key_id(key.public_key())
        if self.manifest.recovery_key is not None and given != self.manifest.recovery_key:
            raise Refused(
                f"{self.path} is sealed to the recovery key {self.manifest.recovery_key}, the given one is {given}; "
                "use the key that was shown when the backed up system was set up"
            )
        names = [name.removesuffix(SEALED) for name in self.manifest.members if name.endswith(SEALED)]
        return {name: recovery.unseal(key, name, self._zip.read(name + SEALED)) for name in names}


class _FormatOnly(msgspec.Struct):
    format: int
