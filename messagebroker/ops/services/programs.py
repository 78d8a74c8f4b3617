"""Other programs that homes are driven with: `systemctl`, `docker`."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from messagebroker.errors import Refused, Unavailable

SECONDS = 60.0
SAID = 2000
"""Characters of a program's answer that go into an error."""


@dataclass(frozen=True)
class Answer:
    """What a program said."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What a person should read when it failed: the end of what it said."""
        return (self.err.strip() or self.out.strip())[-SAID:]


class Run(Protocol):
    """Runs a program to its end."""

    def __call__(self, command: Sequence[str], *, seconds: float = SECONDS, check: bool = True) -> Answer:
        """Its answer.

        Raises:
            Refused: it is not installed, or (with `check`) it ended with another code than 0.
            Unavailable: it did not end in `seconds`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Programs:
    """`Run` for real, all in one place and with one environment."""

    folder: Path | None = None  # their working directory
    environment: Mapping[str, str] | None = None  # None: this process' own
    user: str | None = None  # another account to run as; only root can

    def __call__(self, command: Sequence[str], *, seconds: float = SECONDS, check: bool = True) -> Answer:
        """See `Run`."""
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                timeout=seconds,
                encoding="utf-8",
                errors="replace",
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env=None if self.environment is None else dict(self.environment),
                **({} if self.user is None else _identity(self.user)),
            )
        except FileNotFoundError as error:
            raise Refused(f"{command[0]} is not installed here, or not in PATH") from error
        except PermissionError as error:
            raise Refused(f"{command[0]} may not be run by this account: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"`{' '.join(command)}` did not end in {seconds:.0f} s") from error
        answer = Answer(done.returncode, done.stdout, done.stderr)
        if check and answer.code:
            raise Refused(f"`{' '.join(command)}` failed: {answer.words}")
        return answer


def _identity(user: str) -> dict[str, Any]:
    import os
    import pwd  # there is none on Windows

    found = pwd.getpwnam(user)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": os.getgrouplist(user, found.pw_gid)}
