from __future__ import annotations

import socket
import stat
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from messagebroker.errors import ConfigurationError
from messagebroker.ops import embedded, first_start
from messagebroker.ops.redis_client import connect
from messagebroker.ops.supervisor import Supervisor
from messagebroker.settings import Settings

pytestmark = pytest.mark.tier("processes")  # seconds of real waiting


@pytest.fixture
def embedded_settings(settings: Settings) -> Settings:
    return first_start.environment_file(settings)


def started(settings: Settings) -> Supervisor:
    supervisor = Supervisor([embedded.child(settings)], threading.Event())
    supervisor.start(20)
    return supervisor


def test_it_is_durable_never_evicts_and_asks_for_its_password(embedded_settings: Settings) -> None:
    supervisor = started(embedded_settings)
    try:
        with connect(embedded_settings) as client:
            wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
            assert {name: client.config_get(name)[name] for name in wanted} == wanted
            assert int(client.config_get("maxmemory")["maxmemory"]) > 0
        stranger = redis.Redis(port=int(embedded_settings.redis.rpartition(":")[2].split("/")[0]))
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    finally:
        supervisor.close()


def test_what_was_written_is_there_at_the_next_start_on_the_same_port(embedded_settings: Settings) -> None:
    supervisor = started(embedded_settings)
    with connect(embedded_settings) as client:
        client.set("kept", "yes")
    assert supervisor.close() == []
    again = first_start.environment_file(embedded_settings)
    assert again.redis == embedded_settings.redis
    supervisor = started(again)
    with connect(again) as client:
        assert client.get("kept") == b"yes"
    supervisor.close()


def test_one_that_an_earlier_supervisor_left_behind_is_stopped_first(embedded_settings: Settings) -> None:
    supervisor = started(embedded_settings)
    embedded.end_left_over(embedded_settings)
    process = supervisor.children[0].process
    assert process
    assert process.wait(10) == 0
    embedded.end_left_over(embedded_settings)  # nothing is there: nothing to do
    supervisor.close()


def test_another_port_is_taken_when_somebody_else_has_the_old_one(embedded_settings: Settings) -> None:
    port = urlsplit(embedded_settings.redis).port
    with socket.create_server(("127.0.0.1", port or 0)):
        again = first_start.environment_file(embedded_settings)
    assert urlsplit(again.redis).port != port
    text = (again.data_dir / ".env").read_text(encoding="utf-8")
    assert text.count("EMBEDDED_REDIS_URL=") == 1
    assert f"EMBEDDED_REDIS_URL={again.redis}\n" in text


def test_its_password_is_in_files_of_the_owner_alone(embedded_settings: Settings) -> None:
    password = embedded_settings.redis.split(":")[2].split("@")[0]
    command = embedded.command(embedded_settings)
    assert password not in " ".join(command)
    for path in (Path(command[-1]), embedded_settings.data_dir / ".env"):
        assert password in path.read_text(encoding="utf-8")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_server_program_it_says_which_variable_to_set(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    with pytest.raises(ConfigurationError, match="set REDIS_URL"):
        first_start.environment_file(settings)
    assert not (settings.data_dir / ".env").exists()
