"""The service manager of Windows, through pywin32: the only module that talks to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from messagebroker.errors import BrokerError, Conflict, NotFound, Refused, Unavailable
from messagebroker.ops.services.manager import StartType, Word
from messagebroker.ops.services.windows_units import RESET_SECONDS, WindowsUnit

NEVER_STARTED = 1077
SERVICES_KEY = r"SYSTEM\CurrentControlSet\Services"

_FIRST_ACCOUNT = "NT AUTHORITY\\LocalService"  # until its own, which exists with it: never the all-powerful LocalSystem
_ERRORS: dict[int, tuple[type[BrokerError], str]] = {
    5: (Refused, "may only be changed by an administrator: open PowerShell with 'Run as administrator'"),
    1051: (Refused, "cannot be stopped while services that need it run; add --with-dependencies"),
    1053: (Unavailable, "did not answer the service manager in time; see its log file and the event log"),
    1057: (Refused, "cannot have this account, or its password is wrong"),
    1058: (Refused, "is disabled; `sc.exe config NAME start= delayed-auto` enables it"),
    1060: (NotFound, "is not installed; `messagebroker services install` makes it"),
    1068: (Unavailable, "was not started as a service that it needs did not start"),
    1069: (Refused, "may not log on: its account or password is wrong, or lacks the right to log on as a service"),
    1072: (Conflict, "is about to be removed; close the Services window (services.msc) and try again"),
}
_STATES: dict[int, Word] = {1: "stopped", 2: "starting", 3: "stopping", 4: "running", 5: "running", 6: "running", 7: "running"}
_START_TYPES: dict[int, StartType] = {0: "automatic", 1: "automatic", 2: "automatic", 3: "manual", 4: "disabled"}
_one_at_a_time = threading.Lock()  # several threads that open handles got each other's, seen under Wine
_RUNS_ALREADY, _RUNS_NOT, _NO_SUCH_SERVICE, _INVALID_LEVEL = 1056, 1062, 1060, 124


@dataclass(frozen=True, kw_only=True)
class Found:
    """A service as the service manager knows it."""

    name: str
    display_name: str
    image: str
    account: str
    needs: tuple[str, ...]
    start_type: StartType
    state: Word
    pid: int  # 0: none
    exit_code: int


class Control(Protocol):
    """What is asked of the service manager. Every method may raise Refused, NotFound, Conflict or Unavailable."""

    def images(self) -> dict[str, str]:
        """Every service of this machine -> its command line."""

    def find(self, name: str) -> Found | None:
        """One service; None when there is none of that name."""

    def create(self, unit: WindowsUnit) -> None:
        """Makes the service, but for what `configure` sets."""

    def configure(self, unit: WindowsUnit, password: str | None) -> list[str]:
        """Brings everything about it into the unit's state; a sentence for each thing that this system cannot do."""

    def remove(self, name: str) -> None:
        """Takes it out; it must have stopped."""

    def start(self, name: str) -> None:
        """Asks for its start; nothing to do when it runs."""

    def stop(self, name: str) -> None:
        """Asks for its stop and returns at once; nothing to do when it does not run."""


class ServiceControl:
    """`Control` for real."""

    def images(self) -> dict[str, str]:
        """See `Control`."""
        import winreg

        found = {}
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, SERVICES_KEY) as services:  # type: ignore[attr-defined,unused-ignore]
            for number in range(winreg.QueryInfoKey(services)[0]):  # type: ignore[attr-defined,unused-ignore]
                name = winreg.EnumKey(services, number)  # type: ignore[attr-defined,unused-ignore]
                if isinstance(image := _value(name, "ImagePath"), str):
                    found[name] = image
        return found

    def find(self, name: str) -> Found | None:
        """See `Control`."""
        import win32service

        try:
            with _opened(name, win32service.SERVICE_QUERY_CONFIG | win32service.SERVICE_QUERY_STATUS) as service:
                config = win32service.QueryServiceConfig(service)
                status = win32service.QueryServiceStatusEx(service)
        except NotFound:
            return None
        start = _START_TYPES.get(config[1], "manual")
        return Found(
            name=name,
            display_name=config[8],
            image=config[3],
            account=config[7],
            needs=tuple(_value(name, "DependOnService") or ()),
            start_type="delayed" if start == "automatic" and _value(name, "DelayedAutostart") else start,
            state=_STATES[status["CurrentState"]],
            pid=status["ProcessId"],
            exit_code=status["Win32ExitCode"],
        )

    def create(self, unit: WindowsUnit) -> None:
        """See `Control`."""
        import win32service as win

        with _one_at_a_time, _errors(unit.name):
            manager = win.OpenSCManager(None, None, win.SC_MANAGER_CONNECT | win.SC_MANAGER_CREATE_SERVICE)
            made = win.CreateService(
                manager, unit.name, unit.display_name, win.SERVICE_ALL_ACCESS, win.SERVICE_WIN32_OWN_PROCESS,
                win.SERVICE_DEMAND_START, win.SERVICE_ERROR_NORMAL, unit.image, None, False, None, _FIRST_ACCOUNT, None,
            )  # fmt: skip
            made.Close()
            manager.Close()

    def configure(self, unit: WindowsUnit, password: str | None) -> list[str]:
        """See `Control`."""
        import win32service as win

        actions = [(win.SC_ACTION_RESTART, seconds * 1000) for seconds in unit.restart_seconds]
        failure = {"ResetPeriod": RESET_SECONDS, "RebootMsg": "", "Command": "", "Actions": actions}
        further: list[tuple[str, int, Any]] = [
            ("description", win.SERVICE_CONFIG_DESCRIPTION, unit.description),
            ("recovery actions", win.SERVICE_CONFIG_FAILURE_ACTIONS, failure),
            ("recovery after an error exit", win.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, True),
            ("delayed start", win.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, True),
            ("number of its own for each service", win.SERVICE_CONFIG_SERVICE_SID_INFO, win.SERVICE_SID_TYPE_UNRESTRICTED),
            ("extra time at shutdown", win.SERVICE_CONFIG_PRESHUTDOWN_INFO, unit.shutdown_seconds * 1000),
        ]
        with _opened(unit.name, win.SERVICE_ALL_ACCESS) as service:
            win.ChangeServiceConfig(
                service, win.SERVICE_WIN32_OWN_PROCESS, win.SERVICE_AUTO_START, win.SERVICE_ERROR_NORMAL, unit.image, None,
                False, list(unit.needs), unit.account, password, unit.display_name,
            )  # fmt: skip
            return [
                f"{unit.name}: this system has no {what}" for what, level, value in further if not _set(service, level, value)
            ]

    def remove(self, name: str) -> None:
        """See `Control`."""
        import win32service as win

        with _opened(name, win.SERVICE_ALL_ACCESS) as service:
            win.DeleteService(service)

    def start(self, name: str) -> None:
        """See `Control`."""
        import win32service as win

        with _opened(name, win.SERVICE_START, _RUNS_ALREADY) as service:
            win.StartService(service, None)

    def stop(self, name: str) -> None:
        """See `Control`."""
        import win32service as win

        with _opened(name, win.SERVICE_STOP, _RUNS_NOT) as service:
            win.ControlService(service, win.SERVICE_CONTROL_STOP)


def _set(service: Any, level: int, value: Any) -> bool:
    """Whether this system knows the level; every Windows since 2008 does."""
    import pywintypes
    import win32service

    try:
        win32service.ChangeServiceConfig2(service, level, value)
    except pywintypes.error as error:
        if error.winerror != _INVALID_LEVEL:
            raise
        return False
    return True


@contextmanager
def _opened(name: str, access: int, harmless: int = 0) -> Iterator[Any]:
    import win32service as win

    with _one_at_a_time, _errors(name, harmless):
        manager = win.OpenSCManager(None, None, win.SC_MANAGER_CONNECT)
        try:
            service = win.OpenService(manager, name, access)
            try:
                yield service
            finally:
                service.Close()
        finally:
            manager.Close()


@contextmanager
def _errors(name: str, harmless: int = 0) -> Iterator[None]:
    """Windows' numbers as our errors; `harmless`: one that means that there is nothing to do."""
    import pywintypes

    try:
        yield
    except pywintypes.error as error:
        if error.winerror == harmless:
            return
        kind, text = _ERRORS.get(error.winerror, (Refused, f"{error.funcname} failed: {error.strerror} ({error.winerror})"))
        raise kind(f"{name} {text.replace('NAME', name)}") from error


def _value(service: str, name: str) -> Any:
    """A value that the service manager keeps of a service, None when there is none."""
    import winreg

    try:
        key = rf"{SERVICES_KEY}\{service}"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:  # type: ignore[attr-defined,unused-ignore]
            return winreg.QueryValueEx(opened, name)[0]  # type: ignore[attr-defined,unused-ignore]
    except OSError:
        return None
