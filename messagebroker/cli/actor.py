"""Who types, as the audit log names them."""

from __future__ import annotations

import getpass

from messagebroker.ops.audit import Actor


def typing() -> Actor:
    """The account that runs this command."""
    try:
        return Actor(name=f"cli:{getpass.getuser()}"[:254])
    except (OSError, KeyError):  # no such user, as in containers with a bare number
        return Actor(name="cli")
