"""What is shown once (one-time password, recovery key, a client's files), as files in a folder to be taken away."""

from __future__ import annotations

import os
from pathlib import Path

from messagebroker.errors import ConfigurationError
from messagebroker.ops.first_start import ADMIN, DEMO, Made
from messagebroker.ops.private_files import read_secret, write_public, write_secret
from messagebroker.ops.rights_windows import WindowsRights
from messagebroker.settings import Settings

PASSWORD, RECOVERY_KEY = "admin-password.txt", "recovery-key.txt"


class Handover:
    """A folder that only its owner may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def require_writable(self) -> None:
        """Before anything is made that is shown only once.

        Raises:
            ConfigurationError: nothing can be written there.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(f"the handover folder {self.folder} cannot be made: {error.strerror}") from error
        if os.name == "nt":  # a mode says nothing there
            WindowsRights().guest(self.folder)
        if not os.access(self.folder, os.W_OK):
            raise ConfigurationError(f"nothing can be written into the handover folder {self.folder}; choose another")

    def keep(self, made: Made) -> list[Path]:
        """The files that were written now."""
        written = []
        for name, text in ((PASSWORD, made.admin_password), (RECOVERY_KEY, made.recovery_key)):
            if text is not None:
                said = f"{ADMIN} {text}" if name == PASSWORD else text
                write_secret(self.folder / name, f"{said}\n".encode(), overwrite=True)
                written.append(self.folder / name)
        return written

    def client(self, settings: Settings) -> list[Path]:
        """The demo client's certificate, key and ca.crt: what `smoke` needs."""
        written = []
        for name in (f"{DEMO}.crt", f"{DEMO}.key", "ca.crt"):
            data, target = read_secret(settings.path(settings.certs_dir) / name), self.folder / name
            if not target.exists() or target.read_bytes() != data:
                (write_secret if target.suffix == ".key" else write_public)(target, data, overwrite=True)
                written.append(target)
        return written
