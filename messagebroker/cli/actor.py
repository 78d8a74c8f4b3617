"""Who acts, where the command line does."""

from __future__ import annotations

import getpass

from messagebroker.ops.audit import Actor


def this_user() -> Actor:
    """The account that runs this command, as the audit log names it."""
    try:
        return Actor(name=f"cli:{getpass.getuser()}"[:254])
    except (OSError, KeyError):  # no such user, as in containers with a bare number
        return Actor(name="cli")
