"""What the proxy knows of Redis: room, durability, warnings in /health."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.proxy import Proxy, problem

from messagebroker.http.proxy import admission


def look(proxy: Proxy, **config: Any) -> dict[str, Any]:
    """/health after Redis was configured so; the configuration is put back."""
    before = {name: proxy.redis.config_get(name.replace("_", "-"))[name.replace("_", "-")] for name in config}
    try:
        for name, value in config.items():
            proxy.redis.config_set(name.replace("_", "-"), value)
        proxy.parts.admission.look()
        document: dict[str, Any] = proxy.http.simulate_get("/api/v1/health").json
        return document
    finally:
        for name, value in before.items():
            proxy.redis.config_set(name.replace("_", "-"), value)


def test_our_configuration_has_no_warnings_and_is_worth_an_fsync(proxy: Proxy) -> None:
    assert look(proxy) == {"status": "ok", "role": "proxy", "version": look(proxy)["version"], "warnings": []}
    assert proxy.submit({"body": "x"}).json["durability"] == "fsync"


def test_a_redis_that_evicts_is_called_out_with_the_line_to_change(proxy: Proxy) -> None:
    [warning] = look(proxy, maxmemory_policy="allkeys-lru")["warnings"]
    assert "allkeys-lru" in warning
    assert "maxmemory-policy noeviction" in warning


def test_without_an_fsync_for_every_write_an_answer_says_memory(proxy: Proxy) -> None:
    [warning] = look(proxy, appendfsync="everysec")["warnings"]
    assert "appendfsync always" in warning
    assert proxy.submit({"body": "x"}).json["durability"] == "memory"
    assert proxy.batch([{"body": "x"}]).json["durability"] == "memory"


@pytest.mark.parametrize(
    ("total", "used", "status"),
    [(40, 39.9, 503), (40, 38.5, 202), (1000, 900, 202), (1000, 999.5, 503)],
    ids=["a full disk", "room for a GiB", "a large disk with room", "a large disk that ends"],
)
def test_a_full_disk_of_redis_refuses_too(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, total: float, used: float, status: int
) -> None:
    sizes = SimpleNamespace(total=int(total * 2**30), used=int(used * 2**30), free=int((total - used) * 2**30))
    monkeypatch.setattr(admission.shutil, "disk_usage", lambda path: sizes)
    proxy.parts.admission.look()
    answer = proxy.submit({"body": "x"})
    assert answer.status_code == status
    if status == 503:
        assert problem(answer)[:2] == (503, "queue-full")
        assert answer.headers["retry-after"]


def test_no_memory_limit_is_called_out(proxy: Proxy) -> None:
    [warning] = look(proxy, maxmemory=0)["warnings"]
    assert "maxmemory" in warning


def test_a_redis_that_does_not_tell_counts_as_memory(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.exceptions import ResponseError

    def forbidden(*_: Any) -> None:
        raise ResponseError("unknown command 'CONFIG'")

    monkeypatch.setattr(proxy.parts.admission._client, "config_get", forbidden)
    proxy.parts.admission.look()
    assert proxy.parts.admission.state.durability == "memory"
    assert "CONFIG is forbidden" in proxy.parts.admission.warnings()[0]


def test_the_watch_follows_and_ends(proxy: Proxy) -> None:
    admission = proxy.parts.admission
    admission.start()
    assert admission.state.answers
    admission.stop()
    assert not admission._thread.is_alive()


def test_ready_names_what_is_missing(proxy: Proxy) -> None:
    assert proxy.http.simulate_get("/api/v1/health/ready").json["checks"] == {"policy": "ok", "redis": "ok"}


def test_not_ready_without_a_fresh_policy(proxy: Proxy) -> None:
    proxy.watcher.fresh = False
    answer = proxy.http.simulate_get("/api/v1/health/ready")
    assert problem(answer) == (503, "not-ready", None)
    assert "policy" in answer.json["detail"]
    assert problem(proxy.submit({"body": "x"}))[:2] == (503, "policy-stale")


def test_not_ready_and_a_503_without_any_policy(proxy: Proxy) -> None:
    proxy.watcher.current = None
    assert problem(proxy.http.simulate_get("/api/v1/health/ready"))[0] == 503
    answer = proxy.submit({"body": "x"})
    assert problem(answer) == (503, "policy-missing", None)
    assert answer.headers["retry-after"] == "1"


def test_maintenance_closes_the_entrance_only(proxy: Proxy) -> None:
    proxy.maintain()
    answer = proxy.submit({"body": "x"})
    assert problem(answer) == (503, "maintenance", None)
    assert answer.json["outcome"] == "not-taken"
    assert proxy.get("/api/v1/whoami").status_code == 200
    assert proxy.queued() == []
