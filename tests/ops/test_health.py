"""Asking roles for their health, from outside."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import peewee as pw
import pytest
from pydantic import SecretStr
from support.servers import free_port

from messagebroker.db.connection import connected
from messagebroker.db.models import Heartbeat
from messagebroker.ops import clock, component_certificates, health
from messagebroker.ops.heartbeats import Heart
from messagebroker.roles import BY_NAME
from messagebroker.settings import Settings, load


@contextmanager
def serving(status: int, body: object, *, tls: Path | None = None, host: str = "127.0.0.1") -> Iterator[tuple[int, list[str]]]:
    """A server that answers this to everything; its port, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with Server((host, 0), Handler) as server:
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "proxy.crt", tls / "proxy.key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def certs(settings: Settings) -> Path:
    component_certificates.ensure(settings)
    return settings.path(settings.certs_dir)


def test_a_role_that_is_ready(settings: Settings, certs: Path) -> None:
    with serving(200, {"status": "ready"}, tls=certs) as (port, asked):
        found = health.check(settings.model_copy(update={"proxy_port": port}), "proxy")
    assert found.ready
    assert asked == ["/api/v1/health/ready"], "readiness: a process that is cut off from Redis is alive too"


def test_what_is_missing_is_said(settings: Settings) -> None:
    body = {"status": "failed", "checks": {"database": "ok", "redis": "Redis does not answer", "policy": "is old"}}
    with serving(503, body) as (port, _):
        found = health.check(settings.model_copy(update={"metrics_port": port}), "worker")
    assert not found.ready
    assert found.said == f"http://localhost:{port}/health/ready: 503 redis: Redis does not answer; policy: is old"


@pytest.mark.parametrize("body", [b"<html>busy</html>", b'["busy"]', b'{"detail": "busy"}', b'{"checks": null, "x": "busy"}'])
def test_an_answer_of_another_kind_is_shown(settings: Settings, body: bytes) -> None:
    with serving(503, body) as (port, _):
        found = health.check(settings.model_copy(update={"metrics_port": port}), "worker")
    assert not found.ready
    assert "busy" in found.said


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost", "127.0.0.2"])
def test_a_role_is_asked_where_it_listens(settings: Settings, certs: Path, host: str) -> None:
    with serving(200, {}, tls=certs, host=host) as (port, _):
        listening = settings.model_copy(update={"proxy_port": port, "proxy_host": host})
        assert health.check(listening, "proxy") == health.Health(
            True, f"{health.address_of(listening, BY_NAME['proxy'])}/api/v1/health/ready"
        )


@pytest.mark.parametrize("host", ["::", "::1"])
def test_also_on_ipv6(settings: Settings, certs: Path, host: str) -> None:
    with serving(200, {}, tls=certs, host=host) as (port, _):
        assert health.check(settings.model_copy(update={"proxy_port": port, "proxy_host": host}), "proxy").ready


def test_somebody_else_s_server_is_not_ours(settings: Settings, certs: Path, tmp_path: Path) -> None:
    stranger = load({}, data_dir=tmp_path / "stranger", environment="test")
    component_certificates.ensure(stranger)
    with serving(200, {}, tls=stranger.path(stranger.certs_dir)) as (port, _):
        found = health.check(settings.model_copy(update={"proxy_port": port}), "proxy")
    assert not found.ready
    assert "CERTIFICATE_VERIFY_FAILED" in found.said


def test_nobody_there(settings: Settings, certs: Path) -> None:
    found = health.check(settings.model_copy(update={"proxy_port": free_port()}), "proxy")
    assert not found.ready
    assert "nobody listens there; proxy does not run" in found.said


def test_without_ca_crt_it_is_said_where_it_comes_from(settings: Settings) -> None:
    found = health.check(settings, "proxy")
    assert not found.ready
    assert "ca.crt is missing" in found.said
    assert "messagebroker setup" in found.said


def test_a_server_that_never_answers_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = health.check(settings.model_copy(update={"metrics_port": silent.getsockname()[1]}), "worker")
    assert not found.ready
    assert found.said.endswith("timed out")


# the scheduler


@pytest.fixture
def connected_to_redis(settings: Settings, redis_url: str) -> Settings:
    return settings.model_copy(update={"redis_url": SecretStr(redis_url)})


def test_a_scheduler_is_healthy_while_it_beats(connected_to_redis: Settings, database: pw.Database) -> None:
    settings = connected_to_redis
    assert not health.check(settings, "scheduler").ready
    heart = Heart("scheduler")
    heart.start()
    assert health.check(settings, "scheduler").ready
    assert health.check(settings, "scheduler", pid=os.getpid()).ready
    assert not health.check(settings, "scheduler", pid=os.getpid() + 1).ready
    heart.stop()
    assert not health.check(settings, "scheduler").ready


def test_a_scheduler_without_redis_is_not_ready(settings: Settings, database: pw.Database) -> None:
    heart = Heart("scheduler")
    heart.start()
    found = health.check(
        settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{free_port()}/0")}), "scheduler"
    )
    heart.stop()
    assert not found.ready
    assert found.said.startswith("scheduler: Redis at 127.0.0.1:")


@pytest.mark.parametrize(
    ("host", "seconds", "ready"),
    [(socket.gethostname(), 14, True), (socket.gethostname(), 16, False), ("another machine", 1, False)],
)
def test_only_a_fresh_row_of_this_machine_counts(
    connected_to_redis: Settings, database: pw.Database, host: str, seconds: int, ready: bool
) -> None:
    now = clock.now()
    with connected():
        Heartbeat.insert(
            instance="x", role="scheduler", host=host, pid=1, started_at=now, seen_at=now - timedelta(seconds=seconds)
        ).execute()
    assert health.check(connected_to_redis, "scheduler").ready == ready


def test_a_database_that_is_away_is_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from messagebroker.db import connection

    monkeypatch.setattr(connection.database, "obj", None)
    url = f"mysql://nobody:x@127.0.0.1:{free_port()}/none"
    found = health.check(load({}, data_dir=tmp_path, environment="test", database_url=url), "scheduler")
    assert not found.ready
    assert found.said.startswith("scheduler: the database does not answer")


def test_a_database_that_takes_connections_and_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from messagebroker.db import connection
    from messagebroker.ops import health_by_heartbeat

    monkeypatch.setattr(connection.database, "obj", None)
    monkeypatch.setattr(health_by_heartbeat, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://nobody:x@127.0.0.1:{silent.getsockname()[1]}/none"
        found = health.check(load({}, data_dir=tmp_path, environment="test", database_url=url), "scheduler")
    assert not found.ready
