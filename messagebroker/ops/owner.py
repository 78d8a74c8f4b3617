"""Commands of root in somebody's installation: they act as the account that owns it.

What root writes there, main could not read or renew: a certificate, a lock, a backup.
"""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import dotenv_values


def act_as_owner() -> None:
    """Gives root's rights up for those of the owner of DATA_DIR, where that is another account; for good, in this process."""
    if os.name != "posix" or os.geteuid() != 0:
        return
    named = os.environ.get("DATA_DIR") or dotenv_values(".env").get("DATA_DIR")
    home = Path(named) if named else None
    if home is None or not home.is_dir() or (owner := home.stat().st_uid) == 0:
        return
    import pwd  # there is none on Windows

    try:
        account = pwd.getpwuid(owner)
    except KeyError:  # a bare number, as in containers
        os.setgroups([])
        os.setgid(home.stat().st_gid)
    else:
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
    os.setuid(owner)
