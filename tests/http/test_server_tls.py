"""Who gets in, and as whom: handshakes over real sockets."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from support.certs import Authority, Issued
from support.serving import Connection, Serving, eventually, read_all

from messagebroker.ops import metrics

pytestmark = pytest.mark.clocked

Serve = Callable[..., Serving]
BOTH = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
SERVER_LOG = "messagebroker.http.limits"


def refused(reason: str) -> float:
    return metrics.REGISTRY.get_sample_value("messagebroker_tls_refused_total", {"reason": reason}) or 0.0


@BOTH
def test_the_certificate_is_the_identity(serve: Serve, acme: Issued, version: ssl.TLSVersion) -> None:
    with serve().connect(acme, version) as connection:
        answer = connection.ask("/where", b"hello").json()
        assert connection.sock.version() == version.name.replace("v1_", "v1.")  # type: ignore[attr-defined]
    assert answer == {
        "peer": "client:acme", "serial": acme.serial, "problem": None, "method": "POST", "path": "/where",
        "length": 5, "address": "127.0.0.1", "scheme": "https",
    }  # fmt: skip


def test_a_component_is_told_from_a_client(serve: Serve, authority: Authority) -> None:
    assert serve().ask(authority.component("portal")).json()["peer"] == "component:portal"


@BOTH
def test_without_a_certificate_there_is_no_identity(serve: Serve, version: ssl.TLSVersion) -> None:
    with serve().connect(None, version) as connection:
        answer = connection.ask().json()
    assert (answer["peer"], answer["problem"]) == (None, None)


def test_headers_cannot_claim_an_identity(serve: Serve) -> None:
    answer = serve().ask(headers="messagebroker.peer: acme\r\nX-Client-Id: acme\r\n").json()
    assert answer["peer"] is None


def test_a_verified_certificate_that_names_nobody_is_a_problem(serve: Serve, authority: Authority) -> None:
    server = serve()
    nameless = server.ask(authority.nameless("nobody")).json()
    assert nameless["peer"] is None
    assert nameless["problem"]
    disguised = server.ask(authority.client("main", file="client-main")).json()
    assert disguised["peer"] is None
    assert "component" in disguised["problem"]
    mismatch = server.ask(authority.client("other", cn="acme")).json()
    assert mismatch["peer"] is None
    assert "CN" in mismatch["problem"]


def foreign(authority: Authority, folder: Path) -> Issued:
    return Authority(folder / "foreign").client("acme")


def expired(authority: Authority, folder: Path) -> Issued:
    return authority.expired("late")


def server_only(authority: Authority, folder: Path) -> Issued:
    return authority.server_only("web")


@BOTH
@pytest.mark.parametrize(
    ("make", "reason", "alert"),
    [
        (foreign, "foreign-ca", "UNKNOWN_CA"),
        (expired, "certificate-expired", "CERTIFICATE_EXPIRED"),
        (server_only, "wrong-key-usage", "UNSUPPORTED_CERTIFICATE"),
    ],
)
def test_a_certificate_that_does_not_hold_gets_an_alert(
    serve: Serve,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    version: ssl.TLSVersion,
    make: Callable[[Authority, Path], Issued],
    reason: str,
    alert: str,
) -> None:
    server, shown, before = serve(), make(authority, tmp_path), refused(reason)
    with caplog.at_level(logging.INFO, SERVER_LOG):
        with pytest.raises(ssl.SSLError) as caught, server.connect(shown, version) as connection:
            connection.ask()  # TLS 1.3 tells the client only when it reads
        assert eventually(lambda: bool(caplog.records))  # the alert leaves first
        server.halt()
    assert alert in str(caught.value)
    assert refused(reason) == before + 1
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert reason in lines[0]
    assert "127.0.0.1" in lines[0]


def test_old_protocols_are_refused(serve: Serve) -> None:
    server, before = serve(), refused("old-protocol")
    context = server.context()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        server.connect(context=context)
    assert eventually(lambda: refused("old-protocol") == before + 1)


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"])
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(serve: Serve, cipher: str) -> None:
    server, before = serve(), refused("no-shared-cipher")
    context = server.context(version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(cipher)
    with pytest.raises(ssl.SSLError):
        server.connect(context=context)
    assert eventually(lambda: refused("no-shared-cipher") == before + 1)


def test_plain_http_is_told_to_use_https(serve: Serve) -> None:
    server, before = serve(), refused("plain-http")
    raw = server.raw()
    raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = read_all(raw)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"HTTPS" in answer
    assert refused("plain-http") == before + 1
    assert eventually(lambda: not server.server.channels)


@pytest.mark.parametrize("garbage", [b"\x00" * 64, b"SSH-2.0-OpenSSH_9\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 2000])
def test_what_is_not_tls_is_closed(serve: Serve, garbage: bytes) -> None:
    server = serve(handshake_seconds=0.3)
    raw = server.raw(timeout=5)
    raw.sendall(garbage)
    with suppress(ConnectionError):
        assert b"HTTP" not in read_all(raw)
    assert eventually(lambda: not server.server.channels)


def half_a_handshake(server: Serving) -> socket.socket:
    """A connection that sent the first half of a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = server.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    raw = server.raw()
    raw.sendall(hello[: len(hello) // 2])
    return raw


def test_half_a_handshake_ends_at_its_deadline_and_holds_up_nobody(serve: Serve, acme: Issued) -> None:
    server, before = serve(handshake_seconds=0.8), refused("timeout")
    began = time.monotonic()
    raw = half_a_handshake(server)
    assert server.ask(acme).status == 200
    assert time.monotonic() - began < 0.8
    assert read_all(raw) == b""
    assert 0.7 < time.monotonic() - began < 3
    assert refused("timeout") == before + 1


@BOTH
def test_a_resumed_session_still_has_its_identity(serve: Serve, acme: Issued, version: ssl.TLSVersion) -> None:
    server = serve()
    context = server.context(acme, version)
    session = None
    for resumed in (False, True, True):
        with server.connect(context=context, session=session) as connection:
            assert connection.ask().json()["peer"] == "client:acme"
            assert connection.sock.session_reused is resumed  # type: ignore[attr-defined]
            session = connection.sock.session  # type: ignore[attr-defined]


def replace_server_certificate(authority: Authority) -> Issued:
    made = authority.component("proxy")
    later = time.time_ns() + 5_000_000_000
    for path in (made.crt, made.key):
        os.utime(path, ns=(later, later))
    return made


def shown_by(connection: Connection) -> bytes:
    return connection.sock.getpeercert(binary_form=True)  # type: ignore[attr-defined,no-any-return]


def test_a_renewed_server_certificate_is_taken_up_without_a_restart(serve: Serve, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    first = authority.component("proxy")
    client = authority.client("acme")
    server = serve(authority=authority)
    with server.connect(client) as old:
        assert shown_by(old) == first.der
        second = replace_server_certificate(authority)

        def renewed() -> bool:
            with server.connect(client) as connection:
                return shown_by(connection) == second.der

        assert eventually(renewed, 3)
        assert old.ask().json()["peer"] == "client:acme"  # open connections go on


def test_half_written_certificates_leave_the_old_one_in_use(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path / "ca")
    first = authority.component("proxy")
    server = serve(authority=authority)
    with caplog.at_level(logging.ERROR, "messagebroker.http.tls"):
        first.key.write_text("-----BEGIN", encoding="utf-8")
        assert eventually(lambda: "old certificate stays" in caplog.text, 3)
        time.sleep(0.6)  # one more look at the files
    assert len(caplog.records) == 1
    with server.connect() as connection:
        assert shown_by(connection) == first.der
