"""Who may no longer speak, on two real proxies: what is decided while connections are open reaches both of them."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.certs import Authority, Issued
from support.installation import ClientFiles, Installation
from support.servers import Redis
from support.serving import Answer, Connection

from messagebroker.ops.ca_folder import CaFolder

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(120)]
PROXIES = ("proxy", "proxy#2")
PROMISED = 1.0  # seconds from the end of `certs revoke` to the first refusal


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Redis() as redis, Installation(tmp_path_factory.mktemp("identity"), redis_url=redis.url) as installed:
        installed.client("acme")
        installed.start("main", *PROXIES)
        yield installed


@pytest.fixture
def authority(installation: Installation, tmp_path: Path) -> Authority:
    return Authority.of(CaFolder(installation.settings).ca, tmp_path)


def files_of(issued: Issued) -> ClientFiles:
    return ClientFiles(issued.crt.stem, issued.crt, issued.key, issued.crt.with_name("ca.crt"))


def connect(installation: Installation, proxy: str, context: ssl.SSLContext, session: object = None) -> Connection:
    port = int(installation.url(proxy).rpartition(":")[2])
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    return Connection(context.wrap_socket(raw, server_hostname="localhost", session=session))  # type: ignore[arg-type]


def whoami(connection: Connection) -> Answer:
    return connection.ask("/api/v1/whoami", method="GET")


def problem(answer: Answer) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


def run(installation: Installation, *words: str) -> None:
    """A command as an operator gives it, in a process of its own."""
    command = [sys.executable, "-m", "messagebroker", *words]
    subprocess.run(command, env={**os.environ, **installation.env}, cwd=installation.folder, check=True, timeout=60)


def test_a_revocation_reaches_open_connections_of_every_proxy_within_a_second(installation: Installation) -> None:
    files = installation.client("soon-revoked")
    contexts = {proxy: files.context() for proxy in PROXIES}
    pids = [installation.pid(proxy) for proxy in PROXIES]
    with ExitStack() as stack:
        used = {proxy: stack.enter_context(connect(installation, proxy, contexts[proxy])) for proxy in PROXIES}
        idle = {proxy: stack.enter_context(connect(installation, proxy, contexts[proxy])) for proxy in PROXIES}
        others = {proxy: stack.enter_context(connect(installation, proxy, _acme(installation))) for proxy in PROXIES}
        assert {whoami(connection).status for connection in (*used.values(), *others.values())} == {200}
        sessions = {proxy: connection.sock.session for proxy, connection in used.items()}  # type: ignore[attr-defined]
        run(installation, "certs", "revoke", "soon-revoked", "--yes")
        time.sleep(PROMISED)
        for proxy in PROXIES:
            for connection in (used[proxy], idle[proxy]):
                answer = whoami(connection)
                assert (answer.status, problem(answer), answer.closes) == (403, "certificate-revoked", True)
                assert connection.ends()
            with connect(installation, proxy, contexts[proxy], sessions[proxy]) as resumed:
                assert resumed.sock.session_reused  # type: ignore[attr-defined]
                assert problem(whoami(resumed)) == "certificate-revoked"
            assert whoami(others[proxy]).status == 200, "nobody else is disturbed"
    assert [installation.pid(proxy) for proxy in PROXIES] == pids
    assert all(installation.is_running(proxy) for proxy in PROXIES)


def _acme(installation: Installation) -> ssl.SSLContext:
    return installation.client("acme").context()


def test_a_certificate_that_ends_while_connected_is_refused(installation: Installation, authority: Authority) -> None:
    start, lifetime = datetime.now(UTC).replace(microsecond=0), 4.0
    short = files_of(authority.client("acme", start=start, seconds=lifetime))
    end = start + timedelta(seconds=lifetime)
    with ExitStack() as stack:
        opened = [stack.enter_context(connect(installation, proxy, short.context())) for proxy in PROXIES]
        assert [whoami(connection).status for connection in opened] == [200, 200]
        assert datetime.now(UTC) < end, "this machine is too slow for this test"
        time.sleep((end - datetime.now(UTC)).total_seconds() + 0.05)
        for connection in opened:
            answer = whoami(connection)
            assert (answer.status, problem(answer), answer.closes) == (403, "certificate-expired", True)
            assert connection.ends()


def test_a_client_that_is_named_like_a_component_is_nobody(installation: Installation, authority: Authority) -> None:
    disguised = files_of(authority.client("main", file="client-main"))
    with connect(installation, "proxy", disguised.context()) as connection:
        answer = whoami(connection)
    assert (answer.status, problem(answer)) == (403, "certificate-invalid")


def test_a_renewed_certificate_is_taken_up_by_every_proxy_without_a_restart(installation: Installation) -> None:
    context = _acme(installation)
    with ExitStack() as stack:
        opened = [stack.enter_context(connect(installation, proxy, context)) for proxy in PROXIES]
        before = {_shown(connection) for connection in opened}
        run(installation, "certs", "renew", "proxy")
        deadline = time.monotonic() + 3
        while before & {_shown(stack.enter_context(connect(installation, proxy, context))) for proxy in PROXIES}:
            assert time.monotonic() < deadline, "a proxy still shows its old certificate"
            time.sleep(0.1)
        assert [whoami(connection).status for connection in opened] == [200, 200], "open connections go on"


def _shown(connection: Connection) -> bytes:
    return connection.sock.getpeercert(binary_form=True)  # type: ignore[attr-defined,no-any-return]
