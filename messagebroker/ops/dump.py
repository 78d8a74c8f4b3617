"""A consistent dump of the database into a stream, with the number of rows of every table, and loading it again.

MySQL and MariaDB by their own programs in one snapshot transaction; SQLite by its backup interface. Memory stays constant.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from messagebroker.db.address import Address
from messagebroker.errors import Refused, Unavailable
from messagebroker.ops import dump_tools
from messagebroker.ops.archive import CHUNK, Progress, silent
from messagebroker.settings import Settings

_OPTIONS = (
    "--single-transaction", "--no-tablespaces", "--loose-set-gtid-purged=OFF", "--loose-skip-masking-policies",
    "--loose-column-statistics=0", "--routines", "--triggers", "--events", "--hex-blob", "--default-character-set=utf8mb4",
    "--max-allowed-packet=64M",
)  # fmt: skip
"""What every mysqldump and mariadb-dump takes, and a user with rights on its own schema only may do."""

_LOAD_OPTIONS = ("--batch", "--default-character-set=utf8mb4", "--max-allowed-packet=64M")

_INSERT = re.compile(rb"INSERT (?:IGNORE )?INTO `((?:[^`]|``)+)`")
_STRINGS = re.compile(rb"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_COMPLAINT = re.compile(r"ERROR\b|\S*(mysql|mariadb)\S*: (?!\[Warning\])", re.IGNORECASE)
_SQLITE_URL = "sqlite:///"


def member_name(settings: Settings) -> str:
    """What the dump is called inside a backup."""
    return "database.sqlite" if settings.is_sqlite else "database.sql"


def write(settings: Settings, target: IO[bytes], progress: Progress = silent, *, scratch: Path) -> dict[str, int]:
    """Dumps the database into `target`; SQLite's copy is made in the folder `scratch` first.

    Returns:
        The rows that the dump holds, by table.
    """
    if settings.is_sqlite:
        return _write_sqlite(settings, target, progress, scratch)
    return _write_mysql(settings, target, progress)


def load(settings: Settings, source: IO[bytes], progress: Progress = silent, *, scratch: Path) -> None:
    """Loads a dump of the same kind of database over the present one."""
    if settings.is_sqlite:
        _load_sqlite(settings, source, progress, scratch)
    else:
        _load_mysql(settings, source, progress)


def require_loader() -> None:
    """Before anything is touched.

    Raises:
        ConfigurationError: no program to load a MySQL dump is installed.
    """
    dump_tools.loader()


class RowCounter:
    """Counts the rows in the lines of a MySQL dump: what was dumped, not what another transaction sees."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.last = b""
        self._table: str | None = None

    def feed(self, line: bytes) -> None:
        """Takes one line; line ends inside of values are escaped in a dump."""
        if line.startswith(b"CREATE TABLE `"):
            self.rows.setdefault(_name(line[14:].split(b"` (", 1)[0]), 0)
        if found := _INSERT.match(line):
            self._table = _name(found.group(1))
            line = line[found.end() :]
            line = line[line.index(b"VALUES") + 6 :] if b"VALUES" in line else b""
        if self._table is not None:
            rest = _STRINGS.sub(b"", line)
            self.rows[self._table] = self.rows.get(self._table, 0) + rest.count(b"(")
            if rest.rstrip().endswith(b";"):
                self._table = None
        if line.strip():
            self.last = line


def _name(quoted: bytes) -> str:
    return quoted.replace(b"``", b"`").decode("utf-8")


def _write_mysql(settings: Settings, target: IO[bytes], progress: Progress) -> dict[str, int]:
    counter, done, told = RowCounter(), 0, 0
    address = Address.of(settings)
    with dump_tools.option_file(address) as options:
        command = [dump_tools.dumper(), options, *_OPTIONS, address.name]
        with _running(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for line in process.stdout:
                target.write(line)
                counter.feed(line)
                done += len(line)
                if done - told >= CHUNK:
                    progress("dumping", told := done, None)
    if not counter.last.startswith(b"-- Dump completed"):
        # Exit status 0 and lines on stderr prove nothing either way: these programs print "Error:" and go on.
        raise Unavailable("the dump ended before its last line; see the database server's log and try again")
    return counter.rows


def _load_mysql(settings: Settings, source: IO[bytes], progress: Progress) -> None:
    done = 0
    address = Address.of(settings)
    with dump_tools.option_file(address) as options:
        command = [dump_tools.loader(), options, *_LOAD_OPTIONS, address.name]
        with _running(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            assert process.stdin is not None
            first = source.readline()
            if b"enable the sandbox mode" not in first:  # MariaDB's dump begins with a command that MySQL's client refuses
                process.stdin.write(first)
            while chunk := source.read(CHUNK):
                process.stdin.write(chunk)
                done += len(chunk)
                progress("loading", done, None)
            process.stdin.close()


@contextmanager
def _running(command: list[str], *, stdin: int, stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    """A child whose failure becomes an error with the last lines that it printed; it never outlives the block."""
    name = Path(command[0]).name
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=errors)
        try:
            yield process
            status = process.wait()
        except BrokenPipeError:
            status = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    _close(stream)
        if status != 0:
            errors.seek(0)
            said = _what_matters(errors.read().decode("utf-8", "replace"))
            raise Unavailable(f"{name} ended with exit status {status}: {said or 'it said nothing'}")


def _what_matters(said: str) -> str:
    """The programs' own complaints; not the statements that they print beside them, which hold data."""
    return "; ".join(line.strip() for line in said.splitlines() if _COMPLAINT.match(line))[-1000:]


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return


def _sqlite_path(settings: Settings) -> str:
    return settings.database.removeprefix(_SQLITE_URL)


def _write_sqlite(settings: Settings, target: IO[bytes], progress: Progress, scratch: Path) -> dict[str, int]:
    path = _sqlite_path(settings)
    if not Path(path).exists():
        raise Unavailable(f"there is no database {path} yet; `messagebroker db upgrade` makes it")
    with tempfile.TemporaryDirectory(dir=scratch, prefix="dump-") as folder:
        copy = Path(folder) / "copy.sqlite"
        with closing(sqlite3.connect(path, timeout=60)) as source, closing(sqlite3.connect(copy)) as copied:
            source.backup(copied)  # in one step, thus one snapshot; writers go on meanwhile
            copied.execute("PRAGMA journal_mode = DELETE")  # one file, whatever reads it
            rows = _sqlite_rows(copied)
        with open(copy, "rb") as stream:  # noqa: PTH123
            _copy(stream, target, "dumping", progress)
    return rows


def _sqlite_rows(connection: sqlite3.Connection) -> dict[str, int]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    tables = [str(row[0]) for row in names]
    return {table: int(connection.execute(f'SELECT COUNT(*) FROM "{table}"').fetchone()[0]) for table in tables}  # nosec B608 # noqa: S608


def _load_sqlite(settings: Settings, source: IO[bytes], progress: Progress, scratch: Path) -> None:
    with tempfile.TemporaryDirectory(dir=scratch, prefix="load-") as folder:
        copy = Path(folder) / "copy.sqlite"
        with open(copy, "wb") as stream:  # noqa: PTH123
            _copy(source, stream, "loading", progress)
        try:
            with (
                closing(sqlite3.connect(copy)) as copied,
                closing(sqlite3.connect(_sqlite_path(settings), timeout=60)) as target,
            ):
                if (found := copied.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                    raise Refused(f"the database inside the backup is damaged: {found}")
                copied.backup(target)  # one transaction of SQLite's own: all of it or nothing
        except sqlite3.Error as error:
            raise Unavailable(f"the database could not be loaded: {error}") from error


def _copy(source: IO[bytes], target: IO[bytes], what: str, progress: Progress) -> None:
    done = 0
    while chunk := source.read(CHUNK):
        target.write(chunk)
        done += len(chunk)
        progress(what, done, None)
