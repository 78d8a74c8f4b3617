"""Certificates renewed over the wire, between real roles: a sender's by itself, and those of the roles themselves."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.certs import Authority
from support.installation import ClientFiles, Installation
from support.servers import Redis

from messagebroker.client import NEVER, AsyncMessageBroker, MessageBroker, Problem
from messagebroker.ops import certificates, pki
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.identity import serial_of

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(120)]
ROLES = ("main", "proxy", "portal")


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, dict[str, int]]]:
    """Main, a proxy and a portal whose certificates have passed two thirds of their life; and their serials."""
    with Redis() as redis, Installation(tmp_path_factory.mktemp("renewal"), redis_url=redis.url) as installed:
        folder = CaFolder(installed.settings)
        authority = Authority.of(folder.ca, installed.certs)
        serials = {}
        for role in ROLES:
            made = authority.component(role, start=datetime.now(UTC) - timedelta(days=61), days=90)
            certificate = pki.load_certificate(made.crt.read_bytes())
            folder.record(certificate)
            serials[role] = certificate.serial_number
        installed.client("sender")
        installed.start(*ROLES)
        yield installed, serials


def broker(installation: Installation, files: ClientFiles) -> dict[str, object]:
    return {"url": installation.url("proxy"), "cert": files.cert, "key": files.key, "ca": files.ca, "retry": NEVER}


def served(installation: Installation, role: str) -> int:
    """The serial of the certificate that the role shows."""
    context = ssl.create_default_context(cafile=str(installation.certs / "ca.crt"))
    port = int(installation.url(role).rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        with context.wrap_socket(raw, server_hostname="localhost") as secure:
            der = secure.getpeercert(binary_form=True)
    assert der is not None
    return pki.x509.load_der_x509_certificate(der).serial_number


@pytest.mark.parametrize("role", ROLES)
def test_a_role_renews_itself_and_serves_the_new_certificate_without_a_restart(
    aged: tuple[Installation, dict[str, int]], role: str
) -> None:
    installation, serials = aged
    pid = installation.pid(role)
    deadline = time.monotonic() + 30
    while served(installation, role) == serials[role]:
        assert time.monotonic() < deadline, installation.log(role)
        time.sleep(0.2)
    assert installation.pid(role) == pid
    assert installation.is_running(role)
    certificate = pki.load_certificate((installation.certs / f"{role}.crt").read_bytes())
    assert certificate.not_valid_after_utc - datetime.now(UTC) > timedelta(days=89)
    assert not list(installation.certs.glob(f".{role}.crt.next-*"))


def test_a_sender_renews_and_goes_on_and_its_old_certificate_goes_on_too(
    aged: tuple[Installation, dict[str, int]], tmp_path: Path
) -> None:
    installation, _ = aged
    files = installation.client("sender")
    old = ClientFiles("old", tmp_path / "old.crt", tmp_path / "old.key", files.ca)
    old.cert.write_bytes(files.cert.read_bytes())
    old.key.write_bytes(files.key.read_bytes())
    with MessageBroker(**broker(installation, files)) as sender:  # type: ignore[arg-type]
        before = sender.whoami()["certificate"]["serial"]
        issued = sender.renew_certificate()
        assert issued is not None
        assert sender.whoami()["certificate"]["serial"] == issued.serial != before
        assert sender.submit("after the renewal").message_id

    async def again() -> str:
        async with AsyncMessageBroker(**broker(installation, files)) as later:  # type: ignore[arg-type]
            renewed = await later.renew_certificate()
            assert renewed is not None
            serial: str = (await later.whoami())["certificate"]["serial"]
            assert serial == renewed.serial
            return serial

    assert asyncio.run(again()) == serial_of(pki.load_certificate(files.cert.read_bytes())) != issued.serial
    with MessageBroker(**broker(installation, old)) as sender:  # type: ignore[arg-type]
        assert sender.whoami()["certificate"]["serial"] == before


def test_a_revoked_sender_renews_nothing(aged: tuple[Installation, dict[str, int]]) -> None:
    installation, _ = aged
    files = installation.client("stolen")
    with MessageBroker(**broker(installation, files)) as thief:  # type: ignore[arg-type]
        thief.renew_certificate()
        certificates.revoke(installation.settings, "stolen", "stolen")
        time.sleep(1)
        content = files.cert.read_bytes()
        with pytest.raises(Problem) as caught:
            thief.renew_certificate()
        assert caught.value.name == "certificate-revoked"
    assert files.cert.read_bytes() == content
    assert len([one for one in certificates.show(installation.settings, "stolen") if one.status != "revoked"]) == 0
