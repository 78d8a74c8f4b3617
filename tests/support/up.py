"""`messagebroker up` as a process, and the next terminal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from messagebroker.settings import Settings


class Up:
    """One `messagebroker up` in a folder."""

    def __init__(self, folder: Path, *, output: str = "output.txt", **variables: str) -> None:
        self.folder = folder
        kept = {
            key: value for key, value in os.environ.items() if key.lower().removesuffix("_file") not in Settings.model_fields
        }
        self.environment = {**kept, **variables}
        self.output = folder / output
        with self.output.open("wb") as file:
            self.process = psutil.Popen(
                [sys.executable, "-m", "messagebroker", "up"],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.began = time.monotonic()

    @property
    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def wait_until_ready(self) -> float:
        while "Stop with Ctrl-C" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() - self.began < 60, self.said
            time.sleep(0.05)
        return time.monotonic() - self.began

    def family(self) -> list[psutil.Process]:
        return list(self.process.children(recursive=True))

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command in the next terminal."""
        words = shlex.split(command)
        folder = Path("/")  # where lines that `up` printed must work too
        if words[0] == "messagebroker":
            words[:1] = [sys.executable, "-m", "messagebroker"]
            folder = self.folder
        return subprocess.run(words, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=60)

    def end(self) -> None:
        if self.process.poll() is None:
            family = self.family()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(90)
            except psutil.TimeoutExpired:
                for one in (self.process, *family):
                    one.kill()
                raise
