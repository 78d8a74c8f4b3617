"""Who acts, where the command line does."""

from __future__ import annotations

import os
import sys

from messagebroker.ops.audit import Actor


def this_user() -> Actor:
    """The account that runs this command, as the audit log names it: `cli:NAME`.

    It is what the system says, not USER or LOGNAME: those are whatever somebody set them to.
    """
    return Actor(name=f"cli:{_account()}"[:254])


if sys.platform == "win32":

    def _account() -> str:
        return os.getlogin()

else:
    import pwd

    def _account() -> str:
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a bare number, as in containers
            return f"uid-{os.getuid()}"
