"""Main's whole life in a thread: what it does beside answering, and how that ends."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.servers import free_port
from support.serving import Connection, eventually, request

from messagebroker.actors import ops as jobs
from messagebroker.db.connection import database
from messagebroker.http.main import duties, serve
from messagebroker.ops import backup, first_start
from messagebroker.settings import Settings, load

pytestmark = pytest.mark.tier("processes")  # seconds of real waiting


@pytest.fixture
def installed(tmp_path: Path, redis_url: str) -> Iterator[Settings]:
    settings = load({}, data_dir=tmp_path, environment="test", redis_url=redis_url, main_server_port=free_port())
    first_start.set_up(settings)
    yield settings
    database.close()


class Endless:
    """A backup that does not hear of stopping."""

    def __init__(self) -> None:
        self.settings: list[Settings] = []
        self.over = threading.Event()

    def __call__(self, settings: Settings, progress: Any) -> Path:
        self.settings.append(settings)
        self.over.wait(30)
        raise OSError(28, "never mind")


def test_a_request_and_a_job_that_hang_end_together_within_mains_time(
    installed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = Endless()
    monkeypatch.setattr(backup, "create", endless)
    monkeypatch.setattr(duties, "JOBS_SECONDS", 2.0)
    monkeypatch.setattr("messagebroker.http.farewell.BY_NAME", {})
    monkeypatch.setattr("messagebroker.http.farewell.DEFAULT_STOP_SECONDS", 5.0)  # of which requests get 2
    stop = threading.Event()
    main = threading.Thread(target=serve.serve, args=(installed, stop))
    main.start()
    try:
        assert eventually(lambda: answers(installed))
        with connect(installed) as hangs:
            hangs.send(request("/api/v1/auth/login", b"{}" * 100)[:-50])
            jobs.backup.send()
            assert eventually(lambda: bool(endless.settings))
            began = time.monotonic()
            stop.set()
            main.join(10)
            assert 1.5 < time.monotonic() - began < 3.5
    finally:
        stop.set()
        endless.over.set()
        main.join(10)
    assert eventually(lambda: not any("WorkerThread" in type(thread).__name__ for thread in threading.enumerate()))
    assert endless.settings == [installed]
    assert endless.settings[0] is installed, "the jobs have main's settings, and look for none themselves"


def test_main_ends_at_once_when_nothing_is_in_hand(installed: Settings) -> None:
    stop = threading.Event()
    main = threading.Thread(target=serve.serve, args=(installed, stop))
    main.start()
    try:
        assert eventually(lambda: answers(installed))
        began = time.monotonic()
    finally:
        stop.set()
        main.join(10)
    assert time.monotonic() - began < 2.5


def answers(settings: Settings) -> bool:
    try:
        with connect(settings) as connection:
            return connection.ask("/health", method="GET").status == 200
    except OSError:
        return False


def connect(settings: Settings) -> Connection:
    context = ssl.create_default_context(cafile=str(settings.path(settings.certs_dir) / "ca.crt"))
    raw = socket.create_connection(("127.0.0.1", settings.main_server_port), timeout=10)
    return Connection(context.wrap_socket(raw, server_hostname="localhost"))
