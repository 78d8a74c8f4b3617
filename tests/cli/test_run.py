from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.servers import free_port

from messagebroker.cli import run
from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.errors import ConfigurationError, Conflict
from messagebroker.settings import Settings, load

DATABASE_URL = "mysql+pymysql://systemuser:k3Jd82hs@db.example.org/message_system"

NO_PORTS: dict[str, Any] = dict.fromkeys(("main_server_port", "proxy_port", "portal_port", "metrics_port"), 0)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Roles that came as far as serving."""
    names: list[str] = []
    monkeypatch.setattr(run, "entry", lambda role: lambda settings, stop: names.append(role))
    return names


def production(tmp_path: Path, **overrides: object) -> Settings:
    return load({}, data_dir=tmp_path, environment="production", **NO_PORTS, **overrides)


@pytest.mark.parametrize("role", ["proxy", "portal"])
def test_in_production_a_role_that_faces_the_network_must_not_know_the_database(
    role: str, tmp_path: Path, served: list[str]
) -> None:
    with pytest.raises(ConfigurationError, match=f"DATABASE_URL is set for the {role}"):
        run.serve(role, production(tmp_path, database_url=DATABASE_URL), threading.Event())
    assert served == []
    run.serve(role, production(tmp_path), threading.Event())
    assert served == [role]


@pytest.mark.parametrize("role", ["proxy", "portal"])
def test_in_production_it_must_not_be_able_to_read_the_private_key(role: str, tmp_path: Path, served: list[str]) -> None:
    settings = production(tmp_path)
    key = settings.path(settings.encryption_key_path)
    key.parent.mkdir(parents=True)
    key.write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="can read the private master key"):
        run.serve(role, settings, threading.Event())
    run.serve(role, load({}, data_dir=tmp_path, environment="development", **NO_PORTS), threading.Event())
    assert served == [role]


def test_a_role_refuses_a_schema_that_it_does_not_know(tmp_path: Path, served: list[str]) -> None:
    settings = load({}, data_dir=tmp_path, environment="test", **NO_PORTS)
    with pytest.raises(ConfigurationError, match="with `messagebroker db upgrade`"):
        run.serve("worker", settings, threading.Event())
    open_database(settings)
    schema.upgrade()
    run.serve("worker", settings, threading.Event())
    assert served == ["worker"]


@pytest.mark.parametrize(
    ("role", "setting"),
    [("main", "main_server_port"), ("proxy", "proxy_port"), ("portal", "portal_port"), ("worker", "metrics_port")],
)
def test_a_taken_port_is_told_with_its_variable_and_its_holder(
    tmp_path: Path, served: list[str], role: str, setting: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        settings = load({}, data_dir=tmp_path, environment="test", **{**NO_PORTS, setting: port})
        open_database(settings)
        schema.upgrade()
        with pytest.raises(Conflict, match=rf"port {port} of {role} is taken by .*\(pid {os.getpid()}\); .*{setting.upper()}"):
            run.serve(role, settings, threading.Event())
    assert served == []


def test_a_role_waits_for_a_database_that_is_still_starting_until_it_is_stopped(tmp_path: Path, served: list[str]) -> None:
    settings = load({}, data_dir=tmp_path, database_url=f"mysql://me:pw@127.0.0.1:{free_port()}/message_system")
    stop = threading.Event()
    thread = threading.Thread(target=run.serve, args=("worker", settings, stop))
    thread.start()
    time.sleep(0.3)
    assert thread.is_alive()
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert served == []
