"""Set-up with nothing but Python 3.11+: `python3 bootstrap.py up` starts the system, `python3 bootstrap.py test` tests it.

Makes .venv beside this file, installs the locked requirements (hashes checked) and this package, then runs the command
in it. Doing it again is cheap: nothing is installed while the lock files have not changed.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = "python.exe" if os.name == "nt" else "python"
STAMP = VENV / "installed.txt"

TEST_PROGRAMS = {
    "mariadbd": "mariadb-server",
    "mariadb-dump": "mariadb-client",
    "redis-server": "redis-server",
    "chromium": "chromium",
    "curl": "curl",
    "ab": "apache2-utils",
}
"""What the tests start -> the Debian package that has it."""

TEST_LIBRARIES = {"libatomic.so.1": "libatomic1"}
"""The same for libraries: playwright's driver is linked to this one."""

USAGE = """\
usage: python3 bootstrap.py up            start the whole system here (all arguments go to `messagebroker up`)
       python3 bootstrap.py test [TIER …] run all checks and tests, or some tiers of tests (tests/budgets.toml)
       python3 bootstrap.py install       only make .venv; then .venv/bin/messagebroker is the program
       python3 bootstrap.py release DIR   an environment in DIR that does not need this folder any more: for services
       python3 bootstrap.py install-dev   the same with what tests and checks need"""


def main(words: list[str]) -> int:
    """Runs one command; its exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what meets an old Python first
        return fail(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]} ({sys.executable})")
    command, rest = (words[0], words[1:]) if words else ("", [])
    if command == "up":
        install("requirements.lock")
        return run_forever([str(BIN / "messagebroker"), "up", *rest])
    if command == "test":
        install("requirements-dev.lock")
        install_what_tests_need()
        return run_forever([str(BIN / "just"), *(["test-tiers", *rest] if rest else ["test"])])
    if command == "release" and len(rest) == 1:
        release(Path(rest[0]).absolute())
        return 0
    if command in ("install", "install-dev"):
        install("requirements.lock" if command == "install" else "requirements-dev.lock")
        return 0
    return fail(USAGE)


def install(lock: str) -> None:
    """The environment with what `lock` names; a development environment also serves to run the system."""
    if not works(BIN / PYTHON):
        make_environment()
    wanted = f"{lock} {fingerprint(lock)}"
    installed = STAMP.read_text(encoding="utf-8").splitlines() if STAMP.exists() else []
    if wanted in installed:
        return
    say(f"installing {lock} into {VENV}")
    pip(*locked(lock))
    pip("--no-build-isolation", "--no-deps", "-e", str(ROOT))
    compile_quietly()
    STAMP.write_text("\n".join([*(line for line in installed if not line.startswith(f"{lock} ")), wanted]), encoding="utf-8")


def release(folder: Path) -> None:
    """The locked requirements and a copy of this package in an environment of their own; doing it again mends it."""
    python = folder / BIN.name / PYTHON
    if not works(python):
        make_environment(folder)
    say(f"installing into {folder}")
    pip(*locked("requirements.lock"), python=python)
    pip("--no-build-isolation", "--no-deps", "--force-reinstall", str(ROOT), python=python)


def locked(lock: str) -> list[str]:
    """For pip: what `lock` names, and what this package is built with."""
    return ["--require-hashes", "-r", str(ROOT / lock), "-r", str(ROOT / "requirements-build.lock")]


def compile_quietly() -> None:
    """Bytecode of this package, as pip makes it of all others: a role then starts in half a second instead of two."""
    subprocess.run([BIN / PYTHON, "-m", "compileall", "-q", ROOT / "messagebroker"], check=False, capture_output=True)


def fingerprint(lock: str) -> str:
    """Changes with the lock files, the package's metadata and the interpreter."""
    digest = hashlib.sha256(sys.version.encode())
    for name in (lock, "requirements-build.lock", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def works(python: Path) -> bool:
    """Whether an environment is there, and its interpreter was not removed since."""
    return python.exists() and subprocess.run([python, "-c", "import pip"], check=False, capture_output=True).returncode == 0


def make_environment(folder: Path = VENV) -> None:
    """A virtual environment; Debian keeps a part of `venv` in a package of its own."""
    if importlib.util.find_spec("ensurepip") is None:
        install_packages(["python3-venv"], "Debian's Python cannot make virtual environments without it")
    say(f"making {folder}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)


def install_what_tests_need() -> None:
    """What is not on this machine, from Debian."""
    if os.name == "nt":
        return
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:{BIN}"
    missing = {package for program, package in TEST_PROGRAMS.items() if not shutil.which(program, path=path)}
    missing |= {package for library, package in TEST_LIBRARIES.items() if not loads(library)}
    if missing:
        install_packages(sorted(missing), "the tests need it")


def loads(library: str) -> bool:
    """Whether the system finds a shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def install_packages(packages: list[str], why: str) -> None:
    """With apt, as root; otherwise says what to do and ends."""
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if not shutil.which("apt-get"):
        sys.exit(fail(f"please install {', '.join(packages)} ({why}); on Debian: {command}"))
    if os.geteuid() != 0:
        sys.exit(fail(f"please run `sudo {command}` first ({why})"))
    say(command)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
        subprocess.run(  # what apt says goes to stderr only when something is wrong
            ["apt-get", *words],  # noqa: S607 - of the system
            check=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )


def pip(*words: str, python: Path = BIN / PYTHON) -> None:
    """pip of an environment."""
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", *words]
    subprocess.run(command, check=True)


def run_forever(command: list[str]) -> int:
    """Becomes `command` where the system can; a parent in between would have to pass every signal on."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    sys.stdout.flush()
    if os.name != "nt":
        os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted
    try:
        return subprocess.run([f"{command[0]}.exe", *command[1:]], check=False, env=environment).returncode
    except KeyboardInterrupt:  # the child got it too, and has stopped in order
        return 130


def say(text: str) -> None:
    """One line about what takes long."""
    print(f"bootstrap: {text}", file=sys.stderr, flush=True)


def fail(text: str) -> int:
    """An exit code, after its reason."""
    print(text, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(fail(f"bootstrap: this command failed with {error.returncode}: {' '.join(map(str, error.cmd))}"))
