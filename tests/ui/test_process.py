"""The portal as a process: what it answers without a browser, what it keeps, what it costs."""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from pathlib import Path

import psutil
import pytest
from support.fake_main import message_id
from support.portal import ADAS_PASSWORD, RunningPortal

from messagebroker.ui.gate import COOKIE

pytestmark = pytest.mark.tier("processes")


def test_health_and_readiness_tell_main_from_the_portal(portal: RunningPortal) -> None:
    with portal.http() as http:
        for path in ("/health", "/api/v1/health"):
            assert http.get(path).json()["role"] == "portal"
        for path in ("/health/ready", "/api/v1/health/ready"):
            assert http.get(path).json() == {"status": "ready", "checks": {"main": "ok"}}
        portal.main.broken_health = True
        refused = http.get("/health/ready")
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert refused.json()["checks"] == {"main": "does not answer"}
        assert http.get("/health").status_code == 200


def test_the_session_cookie_is_only_for_this_portal_and_no_script(portal: RunningPortal) -> None:
    with portal.http() as http:
        answer = portal.log_in(http)
        assert (answer.status_code, answer.headers["location"]) == (303, "/messages")
        parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
        assert parts == {"httponly", "path=/", "samesite=lax", "secure"}
        assert answer.headers["set-cookie"].startswith(f"{COOKIE}=")
        assert http.get("/messages").status_code == 200


def test_main_hears_the_portals_certificate_and_the_browsers_address(portal: RunningPortal) -> None:
    with portal.http() as http:
        http.headers["x-forwarded-for"] = "203.0.113.9"  # what a browser claims of itself is worth nothing
        http.headers["user-agent"] = "Lynx/2.9"
        portal.log_in(http)
    told = portal.main.headers_of("/api/v1/auth/login")
    assert (told["x-forwarded-for"], told["user-agent"]) == ("127.0.0.1", "Lynx/2.9")
    assert portal.main.peers[-1] == "urn:messagebroker:component:portal"


@pytest.mark.parametrize(("email", "password"), [("ada@example.org", "wrong"), ("nobody@example.org", "wrong"), ("", "")])
def test_a_failed_login_sets_no_cookie_and_explains_itself(portal: RunningPortal, email: str, password: str) -> None:
    with portal.http() as http:
        answer = portal.log_in(http, email, password)
        assert answer.status_code == 401
        assert "do not belong together" in answer.text
        assert "set-cookie" not in answer.headers


def test_an_address_that_somebody_typed_stays_text(portal: RunningPortal) -> None:
    with portal.http() as http:
        answer = portal.log_in(http, '"><script>alert(1)</script>`${1}', "x")
    assert "<script>alert" not in answer.text
    assert "`${1}" not in answer.text


def test_the_login_does_not_lead_elsewhere(portal: RunningPortal) -> None:
    with portal.http() as http:
        form = {"email": "ada@example.org", "password": ADAS_PASSWORD, "next": "https://evil.example/"}
        answer = http.post("/login", data=form, headers={"origin": portal.url})
        assert answer.headers["location"] == "/messages"
        assert http.get("/login", params={"next": "//evil.example"}).headers["location"] == "/messages"


def test_a_login_replaces_the_session_that_the_browser_had(portal: RunningPortal) -> None:
    with portal.http() as http:
        portal.log_in(http)
        old = http.cookies[COOKIE]
        portal.log_in(http)
        assert http.cookies[COOKIE] != old
        http.cookies.set(COOKIE, old, domain="localhost.local", path="/")
    with portal.http() as stranger:
        assert stranger.get("/messages", headers={"cookie": f"{COOKIE}={old}"}).status_code == 303


def test_forms_of_other_sites_strange_forms_and_long_ones_are_refused(portal: RunningPortal) -> None:
    with portal.http() as http:
        form = {"email": "ada@example.org", "password": ADAS_PASSWORD}
        assert http.post("/login", data=form, headers={"origin": "https://evil.example"}).status_code == 403
        assert http.post("/login", data=form).status_code == 403
        own = {"origin": portal.url}
        assert http.post("/login", json=form, headers=own).status_code == 400
        assert http.post("/login", data={"email": "x" * 9000}, headers=own).status_code == 413
    assert not [path for _, path, _ in portal.main.requests if path == "/api/v1/auth/login"]


def test_logging_out_ends_the_session_on_the_server(portal: RunningPortal) -> None:
    with portal.http() as http:
        portal.log_in(http)
        value = http.cookies[COOKIE]
        answer = http.post("/logout", headers={"origin": portal.url})
        assert answer.headers["location"] == "/login?ended=logout"
        assert http.get("/messages", headers={"cookie": f"{COOKIE}={value}"}).status_code == 303


def test_the_socket_of_a_page_answers_only_the_session_that_loaded_it(portal: RunningPortal) -> None:
    with portal.http() as http, portal.http() as other, portal.http() as stranger:
        portal.log_in(http)
        portal.log_in(other, "una@example.org", "a plain user's words")
        page_id = re.search(r"client_id\W+([0-9a-f-]{36})", http.get("/messages").text)
        assert page_id
        socket_query = {"client_id": page_id[1], "EIO": "4", "transport": "polling"}
        asked = [browser.get("/_nicegui_ws/socket.io/", params=socket_query).status_code for browser in (http, other, stranger)]
        assert asked == [200, 403, 403]
        http.post("/logout", headers={"origin": portal.url})
        assert http.get("/_nicegui_ws/socket.io/", params=socket_query).status_code == 403


def test_frameworks_leave_no_doors_open(portal: RunningPortal) -> None:
    with portal.http() as http:
        for path in (
            "/docs",
            "/redoc",
            "/openapi.json",
            "/_nicegui/../../etc/passwd",
            "/static/../serve.py",
            "/static/%2e%2e/serve.py",
        ):
            answer = http.get(path)
            assert answer.status_code in (303, 404), path
            assert "def " not in answer.text
        portal.log_in(http)
        for path in ("/docs", "/redoc", "/openapi.json", "/nowhere"):
            assert http.get(path).status_code == 404, path


def test_metrics_for_this_machine(portal: RunningPortal) -> None:
    with portal.http() as http:
        portal.log_in(http)
        http.get(f"/messages/{message_id(3)}")
        assert http.get("/api/v1/health").json()["role"] == "portal"
        text = http.get("/metrics").text
        assert http.get("/api/v1/metrics").text.splitlines()[0] == text.splitlines()[0]
    assert 'messagebroker_http_requests_total{method="GET",route="/messages/{id}",status="200"}' in text
    assert 'route="/health",status="200"' in text
    assert re.search(r"^messagebroker_portal_sessions [1-9]", text, re.M)
    assert message_id(3) not in text
    assert "process_resident_memory_bytes" in text


def test_metrics_from_elsewhere_take_the_monitoring_certificate(tmp_path: Path) -> None:
    address = next((a.address for name, nic in psutil.net_if_addrs().items() for a in nic
                    if a.family == socket.AF_INET and not a.address.startswith("127.")), None)  # fmt: skip
    assert address, "this test needs a network address beside 127.0.0.1"
    with RunningPortal(tmp_path, portal_host="0.0.0.0") as portal:
        url = f"https://{address}:{portal.port}"
        for certificate, status in ((None, 403), ("proxy", 403), ("monitoring", 200)):
            with portal.http(certificate) as http:
                for path in ("/metrics", "/api/v1/metrics"):
                    answer = http.get(url + path, extensions={"sni_hostname": "localhost"})
                    assert answer.status_code == status, (certificate, path)


def test_metrics_can_be_turned_off(tmp_path: Path) -> None:
    with RunningPortal(tmp_path, metrics_enabled="false") as portal, portal.http() as http:
        assert http.get("/metrics").status_code == http.get("/api/v1/metrics").status_code == 404
        assert http.get("/health").status_code == 200


def test_plain_http_and_silence_do_no_harm(portal: RunningPortal) -> None:
    with socket.create_connection(("127.0.0.1", portal.port), timeout=10) as plain:
        plain.sendall(b"GET /login HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in plain.recv(100)
    silent = [socket.create_connection(("127.0.0.1", portal.port), timeout=10) for _ in range(50)]
    try:
        with portal.http() as http:
            assert http.get("/health").status_code == 200
    finally:
        for connection in silent:
            connection.close()


def test_a_silent_peer_has_the_handshakes_deadline(tmp_path: Path) -> None:
    with RunningPortal(tmp_path, handshake_seconds=0.5) as portal:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", portal.port), timeout=20) as silent:
            assert silent.recv(1) == b""
        assert 0.4 < time.monotonic() - began < 5


def test_headers_have_a_deadline_that_trickling_does_not_move(tmp_path: Path) -> None:
    with RunningPortal(tmp_path, header_seconds=1) as portal:
        for first in (b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"):  # also on a connection that was good once
            with _connection(portal) as slow:
                slow.sendall(first)
                if first:
                    assert slow.recv(4096).startswith(b"HTTP/1.1 200")
                began = time.monotonic()
                with pytest.raises(OSError):  # noqa: PT011 reset, broken pipe or end of TLS, as it happens
                    _trickle(slow, seconds=8)
                assert time.monotonic() - began < 3
        with portal.http() as http:
            assert http.get("/health").status_code == 200
            time.sleep(1.5)  # an idle connection that has asked for something may stay
            assert http.get("/health").status_code == 200


def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    with RunningPortal(tmp_path) as portal:
        first = _serial(portal)
        time.sleep(0.02)
        portal.authority.component("portal")
        later = (tmp_path / "certs" / "portal.crt").stat().st_mtime + 3
        os.utime(tmp_path / "certs" / "portal.crt", (later, later))
        deadline = time.monotonic() + 5
        while _serial(portal) == first:
            assert time.monotonic() < deadline, "still the old certificate"
            time.sleep(0.1)


def test_nothing_of_people_or_messages_is_kept_in_files(tmp_path: Path) -> None:
    with RunningPortal(tmp_path) as portal:
        with portal.http() as http:
            portal.log_in(http)
            value = http.cookies[COOKIE]
            http.get(f"/messages/{message_id(60)}")
            portal.main.failing = 500
            assert http.get("/messages").status_code == 200
        assert portal.stop() == 0
        assert portal.log.exists()
        secrets = (value, "secret-token", ADAS_PASSWORD, "ada@example.org", "invoices.created")
        files = [file for file in tmp_path.rglob("*") if file.is_file() and "certs" not in file.parts]
        found = {
            (file.name, secret)
            for file in files
            for secret in secrets
            if secret in file.read_text(encoding="utf-8", errors="replace")
        }
    assert found == set()
    assert not list(tmp_path.rglob("*.nicegui")) + list(tmp_path.rglob("storage-*"))


def test_a_portal_without_a_certificate_says_what_to_do(tmp_path: Path) -> None:
    portal = RunningPortal(tmp_path)
    (tmp_path / "certs" / "portal.key").unlink()
    with pytest.raises(RuntimeError, match=r"(?s)portal\.key.*messagebroker certs issue portal --kind component"), portal:
        pass
    assert "Traceback" not in portal.output()


def test_what_it_costs(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    with RunningPortal(tmp_path, log_level="INFO") as portal:
        process = psutil.Process(portal.process.pid)
        with portal.http() as http:
            portal.log_in(http)
            for _ in range(20):
                assert http.get("/messages").status_code == 200
        time.sleep(1)
        before = sum(process.cpu_times()[:2])
        time.sleep(3)
        idle = (sum(process.cpu_times()[:2]) - before) / 3
        megabytes = process.memory_info().rss / 2**20
        record_property("megabytes", round(megabytes))
        print(f"start-up {portal.start_seconds:.1f} s, resident {megabytes:.0f} MB, idle {idle:.1%} of a core")
        assert megabytes < 150
        assert idle < 0.05
        assert portal.start_seconds < 12
        began = time.monotonic()
        assert portal.stop() == 0
        assert time.monotonic() - began < 5


def _trickle(connection: ssl.SSLSocket, *, seconds: float) -> None:
    until = time.monotonic() + seconds
    connection.sendall(b"GET /")
    while time.monotonic() < until:
        connection.sendall(b"x")
        time.sleep(0.2)


def _connection(portal: RunningPortal) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(portal.folder / "certs" / "ca.crt"))
    raw = socket.create_connection(("127.0.0.1", portal.port), timeout=10)
    return context.wrap_socket(raw, server_hostname="localhost")


def _serial(portal: RunningPortal) -> str:
    with _connection(portal) as secure:
        shown = secure.getpeercert()
        assert shown
        return str(shown["serialNumber"])
