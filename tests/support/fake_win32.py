"""pywin32's `win32service` where there is none: keeps the calls, and every constant is its own name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

from messagebroker.ops.services.windows_control import ServiceControl
from messagebroker.ops.services.windows_units import WindowsUnit


class _Win32Service(ModuleType):
    def __init__(self) -> None:
        super().__init__("win32service")
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if name.isupper():
            return name
        return self._recorder(name)

    def _recorder(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            return mock.MagicMock()

        return call


def told(unit: WindowsUnit) -> tuple[str, dict[str, Any]]:
    """The start type, and the further settings by their levels, that Windows is told of a service."""
    win32service, pywintypes = _Win32Service(), ModuleType("pywintypes")
    pywintypes.error = OSError  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, {"win32service": win32service, "pywintypes": pywintypes}):
        ServiceControl().configure(unit, None)
    [start] = [call[3] for call in win32service.calls if call[0] == "ChangeServiceConfig"]
    return start, {call[2]: call[3] for call in win32service.calls if call[0] == "ChangeServiceConfig2"}
