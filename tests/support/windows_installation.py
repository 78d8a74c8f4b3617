"""C:\\MessageBroker on the test's Windows machine: set up with our own commands, its roles as services."""

from __future__ import annotations

import json
import re
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis as redis_py
from support.servers import Redis, SqlServer
from support.windows import Said, Windows

from messagebroker.ops.redis_client import DEPTH
from messagebroker.roles import BY_NAME

ROOT = r"C:\MessageBroker"


class WindowsInstallation:
    """The services of one machine, over servers that run elsewhere."""

    def __init__(self, windows: Windows, *, redis: Redis, database: SqlServer, ports: dict[str, int]) -> None:
        self.windows, self.redis, self.database, self.ports = windows, redis, database, ports
        self.said = ""

    def set_up(self) -> None:
        """`messagebroker windows install`, as `windows/install.ps1` calls it; the password of the database is in no file."""
        values = {
            "ENVIRONMENT": "production",
            "REDIS_URL": self.redis.url,
            **{name.upper(): port for name, port in self.ports.items()},
        }
        text = "".join(f"{name}={value}\r\n" for name, value in values.items())
        self.windows.path(ROOT).mkdir(exist_ok=True)
        self.windows.path(rf"{ROOT}\.env").write_bytes(text.encode())
        url = self.database.fresh("windows")
        words = ("windows", "install", "--no-start", "--root", ROOT, "--domain", "broker.example.org")
        self.said = self.windows.messagebroker(*words, seconds=180, DATABASE_URL=url).good().out

    def remove_services(self) -> None:
        self.services("uninstall", "--yes", seconds=180).good()

    def services(self, *words: str, seconds: float = 120.0) -> Said:
        """`messagebroker services …` in ROOT."""
        return self.windows.messagebroker("services", *words, "--root", ROOT, seconds=seconds)

    def states(self) -> dict[str, dict[str, Any]]:
        """Role -> what `services status` says."""
        return {one["role"]: one for one in json.loads(self.services("status", "--json").out)["services"]}

    def log(self, role: str) -> str:
        return self.windows.read(rf"{ROOT}\logs\{BY_NAME[role].log_file}")

    # a sender

    def client(self, name: str = "demo") -> httpx.Client:
        certs = self.windows.path(rf"{ROOT}\main_server\certs")
        if not (certs / f"{name}.crt").exists():
            self.operator("certs", "issue", name).good()
        context = ssl.create_default_context(cafile=str(certs / "ca.crt"))
        context.load_cert_chain(certs / f"{name}.crt", certs / f"{name}.key")
        return httpx.Client(base_url=f"https://localhost:{self.ports['proxy_port']}", verify=context, trust_env=False)

    def operator(self, *words: str, seconds: float = 120.0) -> Said:
        """`messagebroker …` as an operator runs it, in ROOT."""
        return self.windows.messagebroker(*words, cwd=Path(self.windows.path(ROOT)), seconds=seconds)

    def kill(self, role: str) -> None:
        """Ends the processes of a role's service, as nobody could prevent."""
        for process in self.processes(f"windows_service run {role} "):
            process.kill()

    def processes(self, words: str) -> list[psutil.Process]:
        """Those of this machine with these words in their command lines."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.Error):
                if words in " ".join(process.info["cmdline"] or ()) + " " and self._is_of_this_machine(process):
                    found.append(process)
        return found

    def _is_of_this_machine(self, process: psutil.Process) -> bool:
        return process.environ().get("WINEPREFIX") == str(self.windows.folder / "prefix")

    # what happened to messages

    def stored(self) -> int:
        rows = self.database.execute("SELECT COUNT(*) FROM message_system_windows.messages")
        return int(str(rows[0][0]))

    def waiting(self) -> int:
        with redis_py.Redis.from_url(self.redis.url) as client:
            return sum(int(value) for value in client.hvals(DEPTH))

    def wait_until_stored(self, count: int, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while self.stored() < count:
            assert time.monotonic() < deadline, f"{self.stored()} of {count} stored; {self.log('worker')[-2000:]}"
            time.sleep(0.1)

    @property
    def admin_password(self) -> str:
        found = re.search(r"one-time password (\S+)", self.said)
        assert found, self.said
        return found[1]
