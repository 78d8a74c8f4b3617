"""Real Redis and MariaDB servers on free ports, in temporary folders; each one ends with its owner."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import pymysql
import redis


def free_port() -> int:
    """A TCP port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(*names: str) -> str:
    """The first of the programs that exists: in this environment's bin, on PATH, in /usr/sbin."""
    for name in names:
        beside = Path(sys.executable).parent / name
        found = str(beside) if beside.exists() else shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
        if found:
            return found
    raise RuntimeError(f"none of {', '.join(names)} is installed; `just test` installs what the tests need")


class Server:
    """A child process with a data folder; `kill` is kill -9, and `start` comes back on the same folder and port."""

    ready_seconds = 30.0

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"mb-{type(self).__name__.lower()}-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def arguments(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> Self:
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.arguments(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + self.ready_seconds
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{type(self).__name__} did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Server):
    """Append-only, fsync always, noeviction: as the product asks for, unless `options` say otherwise."""

    def __init__(self, *options: str, maxmemory: str = "512mb") -> None:
        super().__init__()
        self.options = options
        self.maxmemory = maxmemory

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def arguments(self) -> list[str]:
        return [
            program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory", self.maxmemory,
            "--maxmemory-policy", "noeviction", *self.options,
        ]  # fmt: skip

    def answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class RedisElsewhere(Redis):
    """A Redis that somebody else started on a port of this machine: there is none for Windows."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def __enter__(self) -> Self:
        return self


class SqlServer(Server):
    """A MySQL or a MariaDB: the user `systemuser` owns `message_system` and every `message_system_…`."""

    def url(self, database: str = "message_system") -> str:
        return f"mysql+pymysql://systemuser:test@127.0.0.1:{self.port}/{database}"

    def connect_as_root(self) -> pymysql.Connection[Any]:
        raise NotImplementedError

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        """Runs statements as root; the rows of the last one."""
        with closing(self.connect_as_root()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def fresh(self, name: str) -> str:
        """A new empty database; its URL."""
        self.execute(f"DROP DATABASE IF EXISTS `message_system_{name}`", f"CREATE DATABASE `message_system_{name}`")
        return self.url(f"message_system_{name}")

    def fresh_user(self, name: str, password: str, rights: str = "ALL") -> str:
        """A new user with rights on a new database of the same name, and nowhere else; its URL."""
        self.fresh(name)
        quoted = password.replace("\\", "\\\\").replace("'", "''")
        self.execute(
            f"DROP USER IF EXISTS {name}@'127.0.0.1'",
            f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{quoted}'",
            f"GRANT {rights} ON message_system_{name}.* TO {name}@'127.0.0.1'",
        )
        return f"mysql://{name}:{quote(password, safe='')}@127.0.0.1:{self.port}/message_system_{name}"


class MariaDB(SqlServer):
    """MariaDB from the machine's packages, in full durability."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options = options
        self.user = "mysql" if os.geteuid() == 0 else ""

    def arguments(self) -> list[str]:
        return [
            program("mariadbd", "mysqld"), *self._places(), f"--port={self.port}",
            "--bind-address=127.0.0.1", f"--socket={self.folder / 'sock'}", f"--pid-file={self.folder / 'pid'}",
            "--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=256M", "--innodb-log-file-size=256M",
            "--max-connections=200", "--skip-name-resolve", "--performance-schema=OFF", *self.options,
            *([f"--user={self.user}"] if self.user else []),
        ]  # fmt: skip

    def start(self) -> Self:
        if not (self.folder / "data").exists():
            self._install()
        (self.folder / "sock").unlink(missing_ok=True)  # of a killed server
        return super().start()

    def _places(self) -> list[str]:
        """A server that starts removes the temporary tables of all others that have them in the same folder."""
        return ["--no-defaults", f"--datadir={self.folder / 'data'}", f"--tmpdir={self.folder}"]

    def _install(self) -> None:
        command = [program("mariadb-install-db", "mysql_install_db"), *self._places(),
                   "--auth-root-authentication-method=normal", "--skip-test-db"]  # fmt: skip
        if self.user:
            shutil.chown(self.folder, self.user)
            command.append(f"--user={self.user}")
        subprocess.run(command, check=True, capture_output=True)
        super().start()
        self.execute(
            "CREATE DATABASE message_system CHARACTER SET utf8mb4",
            "CREATE USER systemuser@'127.0.0.1' IDENTIFIED BY 'test'",
            "GRANT ALL ON message_system.* TO systemuser@'127.0.0.1'",
            "GRANT ALL ON `message\\_system\\_%`.* TO systemuser@'127.0.0.1'",
        )
        self.stop()

    def connect_as_root(self) -> pymysql.Connection[Any]:
        return pymysql.connect(unix_socket=str(self.folder / "sock"), user="root", autocommit=True)

    def answers(self) -> bool:
        if not (self.folder / "sock").exists():  # PyMySQL leaves its socket open when the connection fails
            return False
        try:
            self.connect_as_root().close()
        except pymysql.MySQLError:
            return False
        return True
