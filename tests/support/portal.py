"""A real portal process in front of a FakeMain, as `messagebroker run portal` starts it."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from support.certs import Authority
from support.fake_main import FakeMain
from support.servers import free_port

READY_SECONDS = 30.0
ADA, ADAS_PASSWORD = "ada@example.org", "correct horse battery"


class RunningPortal:
    """Certificates, a FakeMain and the process; everything in one folder."""

    def __init__(self, folder: Path, **overrides: Any) -> None:
        self.folder = folder
        self.authority = Authority(folder / "certs")
        for role in ("main", "portal", "monitoring", "proxy"):
            self.authority.component(role)
        self.main = FakeMain(folder / "certs")
        self.port = free_port()
        self.log = folder / "logs" / "portal.log"
        values = {
            "environment": "test", "data_dir": folder, "main_server_url": self.main.url, "portal_port": self.port,
            "log_level": "DEBUG", **overrides,
        }  # fmt: skip
        self.variables = {name.upper(): str(value) for name, value in values.items()}
        self.start_seconds = 0.0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def __enter__(self) -> Self:
        self.main.__enter__()
        began = time.monotonic()
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "SYSTEMROOT")}
        self._output = open(self.folder / "output", "wb")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "messagebroker", "run", "portal"],
            env=kept | self.variables, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
        )  # fmt: skip
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > began + READY_SECONDS:
                self.__exit__(None, None, None)
                raise RuntimeError(f"the portal did not start:\n{self.output()[-3000:]}")
            time.sleep(0.05)
        self.start_seconds = time.monotonic() - began
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self._output.close()
        self.main.__exit__(kind, error, trace)

    def stop(self) -> int:
        """Asks the process to end; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def output(self) -> str:
        return (self.folder / "output").read_text(encoding="utf-8", errors="replace")

    def http(self, certificate: str | None = None) -> httpx.Client:
        """A client that follows no redirects and keeps cookies."""
        context = ssl.create_default_context(cafile=str(self.folder / "certs" / "ca.crt"))
        if certificate:
            context.load_cert_chain(*(self.folder / "certs" / f"{certificate}.{end}" for end in ("crt", "key")))
        return httpx.Client(base_url=self.url, verify=context, trust_env=False, timeout=20)

    def log_in(self, http: httpx.Client, email: str = ADA, password: str = ADAS_PASSWORD) -> httpx.Response:
        form = {"email": email, "password": password, "next": "/messages"}
        return http.post("/login", data=form, headers={"origin": self.url})

    def _answers(self) -> bool:
        try:
            with self.http() as http:
                return http.get("/health").status_code == 200
        except httpx.TransportError:
            return False
