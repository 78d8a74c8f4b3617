"""A Windows machine for tests: a real Windows Python under Wine, in a prefix of its own that goes away with it.

with Windows() as windows:
    windows.python("-c", "print(1)")
    windows.services("install")

What Wine can prove and what it cannot is in docs/windows.md. 127.0.0.1 is shared with Linux.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from support.machine import require_tool
from support.tiers import TRIES

REPOSITORY = Path(__file__).parents[2]
SOURCE = ("messagebroker", "windows", "docker", "pyproject.toml", "README.md", "LICENSE", "bootstrap.py")
LOCKS = ("requirements.lock", "requirements-build.lock")
INSTALL_SECONDS = 240.0
SECONDS = 60.0
TEST_LIBRARIES = {
    "pytest", "pytest-timeout", "pytest-rerunfailures", "hypothesis", "iniconfig", "packaging", "pluggy", "pygments",
    "sortedcontainers", "attrs", "colorama", "pyyaml", "aiosmtpd", "atpublic",
}  # fmt: skip
BOOT_TRIES = 5
START_AGAIN = """
# Windows starts a program or says why not; Wine now and then answers ERROR_INTERNAL_ERROR, and starts it when asked again.
import time
import _winapi

_create_process = _winapi.CreateProcess


def create_process(*arguments):
    for wait in (0.2, 0.5, 1, 2):
        try:
            return _create_process(*arguments)
        except OSError as error:
            if error.winerror != 1359:
                raise
        time.sleep(wait)
    return _create_process(*arguments)


_winapi.CreateProcess = create_process
"""
KEPT_VARIABLE = "MESSAGEBROKER_WINDOWS"


@dataclass(frozen=True)
class Said:
    """What a program of Windows answered, its line ends as ours."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    def good(self) -> Self:
        assert self.code == 0, f"exit code {self.code}:\n{self.text}"
        return self


class Windows:
    """One machine. Paths given as `C:\\…` are below `drive` on the Linux side."""

    def __init__(self) -> None:
        self.tool = require_tool("windows-python")
        kept = os.environ.get(KEPT_VARIABLE)  # while writing tests: a machine that is there already
        self.folder = Path(kept or tempfile.mkdtemp(prefix="mb-windows-"))
        self.is_kept = bool(kept)
        self.drive = self.folder / "prefix" / "drive_c"
        self.interpreter = r"C:\py311\python.exe"

    def __enter__(self) -> Self:
        try:
            self._call("setup", seconds=INSTALL_SECONDS).good()
            self._mend_starts()
            self.boot()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._call("stop")
        if not self.is_kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    # programs

    def python(self, *words: str, seconds: float = SECONDS, cwd: Path | None = None, **variables: str) -> Said:
        """Runs the interpreter: of the system until `install` has made an environment."""
        return self.run(self.interpreter, *words, seconds=seconds, cwd=cwd, **variables)

    def run(self, *words: str, seconds: float = SECONDS, cwd: Path | None = None, **variables: str) -> Said:
        return self._call("cmd", *words, seconds=seconds, cwd=cwd, variables=variables)

    def messagebroker(self, *words: str, seconds: float = SECONDS, cwd: Path | None = None, **variables: str) -> Said:
        return self.python("-I", "-m", "messagebroker", *words, seconds=seconds, cwd=cwd, **variables)

    def power_cut(self) -> None:
        """Everything on this machine ends at once."""
        self._call("stop").good()

    def boot(self) -> None:
        """Starts it, and what starts by itself; returns when a process can start another one.

        While Wine boots, that may hang or fail with an internal error.
        """
        self._call("keepalive", "start").good()
        again = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', 'pass']).returncode)"
        for _ in range(BOOT_TRIES):
            with suppress(subprocess.TimeoutExpired):
                if self.python("-c", again, seconds=10).code == 0:
                    return
        raise AssertionError("this machine does not boot")

    def _mend_starts(self) -> None:
        customize = self.path(r"C:\py311\Lib\sitecustomize.py")  # every environment on this machine loads it
        said = customize.read_text(encoding="utf-8")
        if START_AGAIN not in said:
            customize.write_text(said + START_AGAIN, encoding="utf-8")

    def _call(
        self, *words: str, seconds: float = SECONDS, cwd: Path | None = None, variables: dict[str, str] | None = None
    ) -> Said:
        environment = {**os.environ, "STATE_DIR": str(self.folder), "PYTHONUTF8": "", **(variables or {})}
        done = subprocess.run(
            [str(self.tool), *words], capture_output=True, timeout=seconds, env=environment, cwd=cwd, stdin=subprocess.DEVNULL
        )
        out, err = (text.decode("utf-8", "replace").replace("\r\n", "\n") for text in (done.stdout, done.stderr))
        return Said(done.returncode, out, err)

    # our package

    def install(self) -> None:
        """As `windows/install.ps1` does it: the locked requirements and the package, in an environment of their own."""
        source = self.path(r"C:\source")
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        for name in SOURCE:
            _copy(REPOSITORY / name, source / name)
        for name in LOCKS:
            shutil.copy(REPOSITORY / name, source / name)
        release = r"C:\MessageBroker\releases\test"
        self.python(r"C:\source\bootstrap.py", "release", release, seconds=INSTALL_SECONDS).good()
        self.interpreter = rf"{release}\Scripts\python.exe"

    def path(self, windows: str) -> Path:
        """Where a path of this machine is for Linux."""
        assert windows.startswith("C:\\")
        return self.drive.joinpath(*windows.removeprefix("C:\\").split("\\"))

    def read(self, windows: str) -> str:
        path = self.path(windows)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def twin(self) -> Windows:
        """A second machine with the same things on it: what runs there disturbs nobody here."""
        self.power_cut()  # its registry is on the disk then
        other = Windows()
        if not other.is_kept:
            other.folder.rmdir()
        else:
            other.folder = self.folder.with_name(f"{self.folder.name}-twin")
            shutil.rmtree(other.folder, ignore_errors=True)
        other.drive = other.folder / "prefix" / "drive_c"
        subprocess.run(["cp", "-a", str(self.folder), str(other.folder)], check=True, timeout=120)
        other.is_kept = False
        self.boot()
        return other

    # tests of the suite, as Windows sees them

    def prepare_tests(self) -> None:
        """What the suite needs, from the same lock as elsewhere.

        The interpreter itself runs it, with the packages of our environment: that one's python.exe is only a starter, and a
        test that kills it would kill nobody else.
        """
        blocks = re.split(r"\n(?=[a-z0-9])", (REPOSITORY / "requirements-dev.lock").read_text(encoding="utf-8"))
        wanted = [block for block in blocks if re.split(r"[=\[ ]", block)[0] in TEST_LIBRARIES]
        lock = self.path(r"C:\source\requirements-test.lock")
        lock.write_text("\n".join(wanted), encoding="utf-8")
        self.python(
            "-m", "pip", "install", "-q", "--require-hashes", "-r", r"C:\source\requirements-test.lock", seconds=180
        ).good()

        packages = self.path(self.interpreter).parents[1] / "Lib" / "site-packages"
        line = f"import site; site.addsitedir(r'C:\\{packages.relative_to(self.drive)}')".replace("/", "\\")
        (self.path(r"C:\py311\Lib\site-packages") / "release.pth").write_text(f"{line}\n", encoding="utf-8")

    def begin_tests(self, *words: str, redis_port: int) -> Running:
        """pytest, beside what else runs."""
        options = ["-v", "-p", "no:cacheprovider", "--timeout=60", f"--reruns={TRIES - 1}"]  # its tier is `clocked`
        command = ["cmd", self.interpreter, "-m", "pytest", *options, *words]
        environment = {**os.environ, "STATE_DIR": str(self.folder), "MESSAGEBROKER_TEST_REDIS": str(redis_port)}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        return Running([str(self.tool), *command], REPOSITORY, environment)

    # its services, as Windows itself sees them

    def state_of(self, service: str) -> str:
        """RUNNING, STOP_PENDING, STOPPED, …; `-` when there is no such service."""
        found = [line for line in self.run("sc.exe", "query", service).out.splitlines() if "STATE" in line]
        return found[0].split()[-1] if found else "-"

    def wait_for_state(self, service: str, state: str, seconds: float) -> float:
        """How long it took."""
        began = time.monotonic()
        while (now := self.state_of(service)) != state:
            assert time.monotonic() - began < seconds, f"{service} is {now} after {seconds} s, not {state}"
            time.sleep(0.1)
        return time.monotonic() - began


class Running:
    """A program that goes on beside others. What it says is read while it runs: a child that it leaves keeps its pipe open."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._process = subprocess.Popen(command, cwd=folder, env=environment, **streams)
        self._lines: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, seconds: float) -> Said:
        """Until it ends, which it must have done then."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {seconds:.0f} s; it said:\n{self._said()[-3000:]}") from None
        self._reader.join(2)
        return Said(code, self._said(), "")

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)

    def _said(self) -> str:
        return b"".join(self._lines).decode("utf-8", "replace").replace("\r\n", "\n")

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as stream:
            self._lines.extend(stream)


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif path.exists():
        shutil.copy(path, target)
