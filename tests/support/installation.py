"""A whole installation: real role processes on free ports, over a Redis and a database that the test gives.

with Redis() as redis, MariaDB() as mariadb, Installation(tmp_path, redis_url=redis.url, database_url=mariadb.url()) as it:
    it.start("main")
    it.start("proxy")
    with it.http(it.client("sender-1")) as http:
        http.post(it.url("proxy") + "/api/v1/messages", json={"body": "hello"})
    it.kill("proxy")
"""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx
import psutil
import redis as redis_py
from support.servers import free_port

from messagebroker.ops import certificates, first_start, health
from messagebroker.ops.redis_client import DEPTH, NAMESPACE
from messagebroker.roles import BY_NAME
from messagebroker.settings import WITH_DATABASE, Settings, load

PORTS = ("main_server_port", "proxy_port", "portal_port", "metrics_port")
READY_SECONDS = 30.0


@dataclass(frozen=True)
class ClientFiles:
    """What a sender was handed."""

    name: str
    cert: Path
    key: Path
    ca: Path

    def context(self) -> ssl.SSLContext:
        """For any client: trusts the installation's CA, presents the certificate."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.cert, self.key)
        return context


class Installation:
    """Starts, kills and restarts single roles by name; keyword arguments are settings (`worker_count=2`).

    A name may carry a number, `worker#2`: one more process of that role, on a metrics or server port of its own.
    Without `database_url` it is SQLite in the folder.
    """

    def __init__(self, folder: Path, *, redis_url: str, database_url: str | None = None, **overrides: Any) -> None:
        self.folder = folder / "data"
        values: dict[str, Any] = {
            "environment": "test",
            "data_dir": self.folder,
            "redis_url": redis_url,
            **({"database_url": database_url} if database_url else {}),
            **{name: free_port() for name in PORTS},
            **overrides,
        }
        self.env = {name.upper(): str(value) for name, value in values.items()}
        self.settings: Settings = load(self.env)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}
        self._logs: list[IO[bytes]] = []
        self.made: first_start.Made | None = None

    def __enter__(self) -> Self:
        self.made = first_start.set_up(self.settings)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            for name in list(reversed(self.processes)):
                self.stop(name)
        finally:
            for log in self._logs:
                log.close()

    # roles

    def start(self, *names: str, wait: bool = True) -> None:
        """Starts roles, and waits until each is ready."""
        for name in names:
            assert not self.is_running(name), f"{name} runs already"
            role = name.partition("#")[0]
            log = open(self.folder / f"{name}.stderr", "ab")
            self._logs.append(log)
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "messagebroker", *BY_NAME[role].command, "--supervised"],
                env=self.environment(name),
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=os.name == "posix",
            )
            if wait:
                self.wait_until_ready(name)

    def environment(self, name: str) -> dict[str, str]:
        """The variables of one process: DATABASE_URL only for the roles that may have it."""
        role, _, number = name.partition("#")
        values = {key: value for key, value in self.env.items() if key != "DATABASE_URL" or role in WITH_DATABASE}
        port_setting = BY_NAME[role].port_setting
        if number and port_setting:
            values[port_setting.upper()] = str(self._ports.setdefault(name, free_port()))
        kept = {
            key: value for key, value in os.environ.items() if key.lower().removesuffix("_file") not in Settings.model_fields
        }
        return {**kept, **values}

    def wait_until_ready(self, name: str, seconds: float = READY_SECONDS) -> None:
        process = self.processes[name]
        deadline = time.monotonic() + seconds
        while True:
            found = health.check(self._settings_of(name), name.partition("#")[0], pid=process.pid)
            if found.ready:
                return
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with {process.returncode}:\n{self.log(name)}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} is not ready after {seconds} s: {found.said}\n{self.log(name)}")
            time.sleep(0.05)

    def kill(self, name: str) -> None:
        """kill -9, of the process and of its children (a worker with several processes)."""
        process = self.processes.pop(name)
        family = [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
        process.kill()
        for child in family:
            if child.is_running():
                child.kill()
        process.wait(10)
        self._close_stdin(process)

    def stop(self, name: str, *, graceful_seconds: float | None = None) -> int:
        """SIGTERM; the exit code. Fails when the role needs longer than its own limit."""
        process = self.processes.pop(name)
        limit = graceful_seconds or BY_NAME[name.partition("#")[0]].stop_seconds + 5.0
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{name} had not stopped after {limit} s:\n{self.log(name)}") from None
        finally:
            self._close_stdin(process)

    def _close_stdin(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin:
            process.stdin.close()

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def is_running(self, name: str) -> bool:
        return name in self.processes and self.processes[name].poll() is None

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def log(self, name: str, characters: int = 4000) -> str:
        """The end of what the process wrote: its log file and its stderr."""
        role = BY_NAME[name.partition("#")[0]]
        files = [self.folder / f"{name}.stderr"]
        if self.settings.log_file_path:
            files.insert(0, self.settings.path(self.settings.log_file_path) / role.log_file)
        return "\n".join(file.read_text(encoding="utf-8", errors="replace")[-characters:] for file in files if file.exists())

    # reaching them

    def url(self, name: str) -> str:
        """`https://localhost:PORT` of main, proxy or portal; `http://127.0.0.1:PORT` of the worker."""
        return health.address_of(self._settings_of(name), BY_NAME[name.partition("#")[0]])

    def _settings_of(self, name: str) -> Settings:
        port_setting = BY_NAME[name.partition("#")[0]].port_setting
        if name in self._ports and port_setting:
            return self.settings.model_copy(update={port_setting: self._ports[name]})
        return self.settings

    def client(self, name: str = "sender") -> ClientFiles:
        """A client's certificate, issued when there is none; returns when the proxies that run know it."""
        cert = self.certs / f"{name}.crt"
        if not cert.exists():
            certificates.issue(self.settings, name)
        files = self.files(cert)
        for proxy in self.processes:
            if proxy.partition("#")[0] == "proxy" and self.is_running(proxy):
                self._wait_until_known(files, proxy)
        return files

    def _wait_until_known(self, files: ClientFiles, proxy: str) -> None:
        deadline = time.monotonic() + 5
        with self.http(files) as http:
            while (answer := http.get(self.url(proxy) + "/api/v1/whoami")).status_code != 200:
                assert time.monotonic() < deadline, f"{proxy} does not know {files.name}: {answer.text}"
                time.sleep(0.05)

    def files(self, cert: Path) -> ClientFiles:
        """The key and the CA beside a certificate, such as that of a component: `files(it.certs / "monitoring.crt")`."""
        return ClientFiles(cert.stem, cert, cert.with_suffix(".key"), self.certs / "ca.crt")

    @property
    def certs(self) -> Path:
        return self.settings.path(self.settings.certs_dir)

    def http(self, files: ClientFiles | None = None, *, timeout: float = 10.0) -> httpx.Client:
        """An HTTP client that trusts the CA, with a client's certificate or none."""
        context = files.context() if files else ssl.create_default_context(cafile=str(self.certs / "ca.crt"))
        return httpx.Client(verify=context, timeout=timeout, trust_env=False)

    # Redis

    def redis(self) -> redis_py.Redis:
        return redis_py.Redis.from_url(self.settings.redis, socket_timeout=5)

    def waiting(self) -> int:
        """Messages in Redis, waiting or running."""
        with self.redis() as client:
            return sum(int(value) for value in client.hvals(DEPTH))

    def wait_until_drained(self, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while (left := self.waiting()) != 0:
            assert time.monotonic() < deadline, f"{left} messages still in Redis after {seconds} s"
            time.sleep(0.05)

    def dead_letters(self) -> int:
        """Members of Dramatiq's dead-letter sets, which expire and so must stay empty."""
        with self.redis() as client:
            return sum(int(client.zcard(key)) for key in client.scan_iter(f"{NAMESPACE}:*.XQ"))
