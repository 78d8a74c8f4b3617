"""The program of the Windows services: hosts one role under the service manager.

    python.exe -I -m messagebroker.cli.windows_service run proxy --root C:\\MessageBroker --set DATA_DIR=…

The service manager starts it; `ops/services/windows.py` writes this line. python.exe itself is the program, not
pywin32's host, which finds no packages in a virtual environment. Such a process has no streams, begins in Windows' own
folder and knows the machine's variables only, so everything it needs is in its arguments.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from messagebroker import roles
from messagebroker.errors import BrokerError
from messagebroker.ops import event_log

# What a role needs is imported when the service manager has heard of this process, which it gives up after 30 seconds:
# a cold disk, a virus scanner and bytecode that is not there yet can take longer.

WAIT_HINT_MARGIN_SECONDS = 10
"""On top of the role's own stop timeout, before the service manager thinks that the service hangs."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line of a service, as `ops/services/windows_unit.py` makes it."""
    parser = argparse.ArgumentParser(prog="messagebroker.cli.windows_service", description=__doc__)
    parser.add_argument("verb", choices=["run"])
    parser.add_argument("role", choices=roles.NAMES)
    parser.add_argument("--root", type=Path, required=True, help="the installation: the working directory")
    parser.add_argument(
        "--set", dest="variables", action="append", default=[], metavar="NAME=VALUE", help="for the environment"
    )
    return parser.parse_args(words)


def wait_hint_seconds(role: roles.Role) -> int:
    """How long the service manager is told to wait for a stop."""
    return role.stop_seconds + WAIT_HINT_MARGIN_SECONDS


def host(role: str, stop: threading.Event, events: event_log.EventLogHandler) -> None:
    """Runs the role until `stop` is set.

    Raises:
        Exception: why it could not go on; the file and the event log have it already.
    """
    try:
        from messagebroker.cli.run import serve
        from messagebroker.ops import logs
        from messagebroker.ops.services.runs import Runs
        from messagebroker.settings import load

        settings = load(role=role)
        runs = Runs(settings.data_dir)
        runs.began()
        logs.configure(settings, role, console=False, also=[events])
    except BaseException as error:  # nobody logs yet
        events.say(f"{role} cannot start: {error if isinstance(error, BrokerError) else traceback.format_exc()}")
        raise
    log = logging.getLogger("messagebroker.run")
    try:
        serve(role, settings, stop)
    except BrokerError as error:
        log.error("role refused to run: %s", error)
        raise
    except Exception:
        log.exception("role ended by an error")
        raise
    runs.ended()


def prepare(found: argparse.Namespace) -> None:
    """The place and the variables that `messagebroker run` would have had from its shell."""
    os.chdir(found.root)
    os.environ.update(item.partition("=")[::2] for item in found.variables)


if sys.platform == "win32":
    import servicemanager
    import win32service
    import win32serviceutil

    PRESHUTDOWN = 0x0F
    ACCEPT_PRESHUTDOWN = 0x100

    def service_class(role: roles.Role) -> type[win32serviceutil.ServiceFramework]:
        """The service of a role, as pywin32 wants it: a class."""

        class RoleService(win32serviceutil.ServiceFramework):  # type: ignore[misc,unused-ignore]
            """One role; the service manager has heard RUNNING before it starts and hears STOPPED when it is done."""

            _svc_name_ = role.service

            def __init__(self, words: Sequence[str]) -> None:
                super().__init__(words)
                self.stopping = threading.Event()

            def GetAcceptedControls(self) -> int:
                """Also the notice before a shutdown: servers still run then, and there is time to finish what is in hand."""
                return int(super().GetAcceptedControls()) | ACCEPT_PRESHUTDOWN

            def SvcStop(self) -> None:
                """Returns at once; `SvcDoRun` ends when what is in hand is done."""
                hint = wait_hint_seconds(role) * 1000
                self.ReportServiceStatus(win32service.SERVICE_STOP_PENDING, waitHint=hint)
                self.stopping.set()

            SvcShutdown = SvcStop  # without it a reboot kills the service

            def SvcOtherEx(self, control: int, event_type: int, data: object) -> int:
                """What the framework has no method for."""
                if control == PRESHUTDOWN:
                    self.SvcStop()
                return 0

            def SvcDoRun(self) -> None:
                """An error that leaves it makes the service manager see a failed service, which it starts again."""
                host(role.name, self.stopping, event_log.handler(role.service))

        return RoleService


def main() -> None:
    """Hands this process to the service manager until the service has stopped."""
    found = arguments(sys.argv[1:])
    prepare(found)
    if sys.platform == "win32":
        role = roles.BY_NAME[found.role]
        servicemanager.Initialize(role.service, servicemanager.__file__)
        servicemanager.PrepareToHostSingle(service_class(role))
        servicemanager.StartServiceCtrlDispatcher()
    else:
        sys.exit("only Windows' service manager starts this; here it is `messagebroker run`")


if __name__ == "__main__":
    main()
