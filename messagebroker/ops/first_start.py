"""What an installation needs before its roles run: folders, secrets, CA, certificates, schema, the first admin and client.

Every step looks first and makes only what is missing, so that it may be repeated, or go on after it was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from messagebroker.db import schema
from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import User
from messagebroker.ops import certificates, component_certificates, embedded, keyring, users
from messagebroker.ops.private_files import write_secret
from messagebroker.settings import Settings, load

ADMIN = "admin@localhost"
DEMO = "demo"

_ENVIRONMENT_HEAD = """\
# Settings of this installation, NAME=value; the environment and a .env in the working directory win over this file.
# docs/settings.md lists them all.
"""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was made now and can be shown only once."""

    admin_password: str | None = None
    recovery_key: str | None = None


def set_up(settings: Settings, say: Callable[[Made], object] = lambda made: None) -> Made:
    """Everything, on the database that the settings name; Redis need not run.

    `say` is told what was made as soon as it is there: what comes after it can fail, and then it would be lost.
    """
    recovery_key = secret_files(settings)
    say(Made(recovery_key=recovery_key))
    certificate_files(settings)
    password = database(settings)
    say(Made(admin_password=password))
    return Made(admin_password=password, recovery_key=recovery_key)


def secret_files(settings: Settings) -> str | None:
    """Folders and secrets; the recovery key when it was made now."""
    folders(settings)
    return keyring.first_secrets(settings)


def certificate_files(settings: Settings, domains: Collection[str] = ()) -> None:
    """The CA, certificates of components (good for `domains` too) and of a client to try things with. Needs no server."""
    component_certificates.ensure(settings, domains)
    client(settings, DEMO)


def database(settings: Settings) -> str | None:
    """The schema, what the CA's folder knows, the first admin; their one-time password when they were made now."""
    open_database(settings)
    schema.upgrade()
    certificates.register_issued(settings)
    return first_admin()


def folders(settings: Settings) -> None:
    """The data directory, for its owner alone."""
    settings.data_dir.absolute().mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (settings.certs_dir, settings.backup_dir):
        settings.path(path).mkdir(parents=True, exist_ok=True, mode=0o700)


def environment_file(settings: Settings) -> Settings:
    """`.env` in the data directory, with the address of the embedded Redis when one is needed; the settings with it.

    Every later command finds the same Redis through this file.
    """
    if settings.uses_embedded_redis and (settings.embedded_redis_url is None or embedded.port_is_lost(settings)):
        embedded.program()  # says what to do when there is none, before anything is written
        path = settings.data_dir.absolute() / ".env"
        old = path.read_text(encoding="utf-8") if path.exists() else _ENVIRONMENT_HEAD
        kept = [line for line in old.splitlines() if not line.startswith("EMBEDDED_REDIS_URL=")]
        write_secret(path, "\n".join([*kept, f"EMBEDDED_REDIS_URL={embedded.new_url()}", ""]).encode(), overwrite=True)
    return load(data_dir=settings.data_dir)


def first_admin() -> str | None:
    """The one-time password of the first admin, None when there are people already."""
    with connected():
        if User.select().exists():
            return None
        return users.create_first_admin(ADMIN)


def client(settings: Settings, name: str) -> Path:
    """The certificate of a client, issued when there is none; its key is beside it."""
    path = settings.path(settings.certs_dir) / f"{name}.crt"
    if not path.exists():
        certificates.issue(settings, name, announce=False)
    return path
