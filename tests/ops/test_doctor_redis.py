from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
from support.installed import quiet
from support.servers import Redis, free_port

from messagebroker.ops import doctor_redis
from messagebroker.ops.findings import Finding


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """One of this module's own: its configuration is changed."""
    with Redis() as server:
        yield server


@pytest.fixture
def client(server: Redis) -> Iterator[redis_py.Redis]:
    good = {"appendonly": "yes", "appendfsync": "always", "maxmemory": 512 << 20, "maxmemory-policy": "noeviction"}
    with redis_py.Redis(port=server.port) as client:
        for name, value in good.items():
            client.config_set(name, value)
        client.flushall()
        yield client


def bad(server: Redis, folder: Path) -> list[Finding]:
    return [finding for finding in doctor_redis.check(quiet(folder, redis_url=server.url)) if finding.level != "ok"]


def test_our_own_configuration_is_good(server: Redis, client: redis_py.Redis, tmp_path: Path) -> None:
    assert bad(server, tmp_path) == []
    assert len(list(doctor_redis.check(quiet(tmp_path, redis_url=server.url)))) == 5


@pytest.mark.parametrize(
    ("name", "value", "level", "line"),
    [
        ("appendonly", "no", "error", "`appendonly yes`"),
        ("appendfsync", "everysec", "warning", "`appendfsync always`"),
        ("maxmemory", "0", "warning", "`maxmemory 1gb`"),
        ("maxmemory-policy", "allkeys-lru", "error", "`maxmemory-policy noeviction`"),
        ("maxmemory-policy", "volatile-ttl", "error", "`maxmemory-policy noeviction`"),
    ],
)
def test_the_line_to_change_is_quoted(
    server: Redis, client: redis_py.Redis, tmp_path: Path, name: str, value: str, level: str, line: str
) -> None:
    client.config_set(name, value)
    found = bad(server, tmp_path)
    assert [finding.level for finding in found] == [level]
    assert line in found[0].fix
    assert f"CONFIG SET {name}" in found[0].fix


def test_memory_near_its_limit_is_an_error(server: Redis, client: redis_py.Redis, tmp_path: Path) -> None:
    client.set("large", b"x" * (20 << 20))
    client.config_set("maxmemory", 24 << 20)
    found = bad(server, tmp_path)
    assert [finding.level for finding in found] == ["error"]
    assert "proxies refuse" in found[0].text


def test_a_wrong_password_is_said(server: Redis, client: redis_py.Redis, tmp_path: Path) -> None:
    client.config_set("requirepass", "right")
    try:
        found = bad(server, tmp_path)
        assert found[0].level == "error"
        assert "REDIS_PASSWORD" in found[0].fix
    finally:
        redis_py.Redis(port=server.port, password="right").config_set("requirepass", "")


def test_where_config_is_forbidden_the_rest_is_still_checked(server: Redis, client: redis_py.Redis, tmp_path: Path) -> None:
    client.acl_setuser("limited", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-config"])
    url = f"redis://limited:pw@127.0.0.1:{server.port}/0"
    found = list(doctor_redis.check(quiet(tmp_path, redis_url=url)))
    assert [finding.level for finding in found] == ["ok", "warning", "ok", "ok", "ok"]
    assert "appendfsync always" in found[1].fix


def test_a_slow_round_trip_is_said(
    server: Redis, client: redis_py.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_redis, "_SLOW_MS", 0.0)
    assert ["round trip" in finding.text for finding in bad(server, tmp_path)] == [True]


def test_no_redis_at_all(tmp_path: Path) -> None:
    found = list(doctor_redis.check(quiet(tmp_path, redis_url=f"redis://127.0.0.1:{free_port()}/0")))
    assert [finding.level for finding in found] == ["error"]
    assert "REDIS_URL" in found[0].fix


def test_an_old_redis() -> None:
    assert doctor_redis._version("5.0.14").level == "error"
    assert doctor_redis._version("6.2.14").level == "ok"
    assert doctor_redis._version("7.0.15").level == "ok"
