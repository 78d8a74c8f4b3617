"""A Windows job object that ends its processes when this one is gone; elsewhere it does nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any


class Job:
    """Processes that must not outlive this one. Windows closes the handle, and so the job, when this process dies."""

    def __init__(self) -> None:
        self._handle: Any = None
        if sys.platform == "win32":
            self._handle = _create()

    def add(self, process: subprocess.Popen[bytes]) -> None:
        """Takes a child in; its own children are in then too."""
        if sys.platform == "win32":
            import win32job

            win32job.AssignProcessToJobObject(self._handle, int(process._handle))

    def close(self) -> None:
        """Ends what still runs in it."""
        if self._handle is not None:
            self._handle.Close()
            self._handle = None


if sys.platform == "win32":

    def _create() -> Any:
        import win32job

        handle = win32job.CreateJobObject(None, "")
        limits = win32job.QueryInformationJobObject(handle, win32job.JobObjectExtendedLimitInformation)
        limits["BasicLimitInformation"]["LimitFlags"] |= win32job.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
        win32job.SetInformationJobObject(handle, win32job.JobObjectExtendedLimitInformation, limits)
        return handle
