from __future__ import annotations

import stat

from messagebroker.db.connection import connected
from messagebroker.db.models import Certificate, Client, User
from messagebroker.ops import component_certificates, first_start
from messagebroker.settings import Settings


def test_the_first_start_makes_everything_and_the_second_nothing(settings: Settings) -> None:
    made = first_start.set_up(settings)
    assert made.admin_password
    assert made.recovery_key
    files = {
        path: path.read_bytes()
        for path in settings.data_dir.rglob("*")
        if path.is_file() and path.suffix in (".crt", ".key", ".pub")
    }
    assert {path.name for path in files} >= {
        "ca.key",
        "main.crt",
        "proxy.crt",
        "portal.crt",
        "monitoring.crt",
        "demo.crt",
    }

    assert first_start.set_up(settings) == first_start.Made()
    assert {path: path.read_bytes() for path in files} == files
    with connected():
        assert [user.email for user in User.select()] == [first_start.ADMIN]
        assert [client.name for client in Client.select()] == [first_start.DEMO]
        assert Certificate.select().where(Certificate.kind == "component").count() >= len(component_certificates.COMPONENTS)


def test_neither_secret_is_kept_in_a_file(settings: Settings) -> None:
    made = first_start.set_up(settings)
    assert made.admin_password
    assert made.recovery_key
    for path in settings.data_dir.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert made.admin_password.encode() not in data, path
            assert made.recovery_key.encode() not in data, path


def test_private_keys_are_for_the_owner_alone(settings: Settings) -> None:
    first_start.set_up(settings)
    keys = [path for path in settings.data_dir.rglob("*.key") if path.is_file()]
    assert keys
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_an_interrupted_first_start_goes_on(settings: Settings) -> None:
    first_start.folders(settings)
    component_certificates.ensure(settings)
    (settings.data_dir / "certs" / "proxy.crt").unlink()
    (settings.data_dir / "certs" / "proxy.key").unlink()
    made = first_start.set_up(settings)
    assert made.admin_password
    assert (settings.data_dir / "certs" / "proxy.crt").exists()
