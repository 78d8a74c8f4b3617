from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis as redis_py
from support.cast import Cast, assert_problem

from messagebroker.db.connection import is_mysql
from messagebroker.db.models import Certificate, Heartbeat
from messagebroker.http.main.system import EffectiveSettings
from messagebroker.ops import backup, clock, jobs, status
from messagebroker.ops.timetable import PeriodicJob
from messagebroker.roles import NAMES
from messagebroker.settings import Settings, load

SETTINGS, STATUS = "/api/v1/settings", "/api/v1/status"


def test_settings_are_shown_and_secrets_are_not(cast: Cast) -> None:
    given = {
        "jwt_secret": "s3cret-of-tokens-of-32-characters", "redis_password": "hunter2", "max_body_bytes": 1234,
        "redis_url": "redis://:hunter2@localhost/0", "database_url": "mysql://u:hunter2@db01/x",
    }  # fmt: skip
    made = EffectiveSettings(load({}, data_dir=cast.settings.data_dir, environment="test", **given))
    items = {item.name: item for item in made._answer.items}
    assert items.keys() == {name.upper() for name in Settings.model_fields}
    assert (items["MAX_BODY_BYTES"].value, items["MAX_BODY_BYTES"].given) == (1234, True)
    assert (items["MAX_BATCH_ITEMS"].value, items["MAX_BATCH_ITEMS"].given) == (1000, False)
    for name in ("JWT_SECRET", "REDIS_PASSWORD", "REDIS_URL", "DATABASE_URL"):
        assert (items[name].value, items[name].secret, items[name].given) == (None, True, True)
    assert "hunter2" not in repr(items)
    assert "s3cret" not in repr(items)


def test_whatever_is_called_a_secret_is_one(cast: Cast) -> None:
    """For settings to come: a plain field of such a name would be told."""
    for item in cast.get(SETTINGS, "operator").json["items"]:
        words = set(item["name"].split("_"))
        if words & {"PASSWORD", "SECRET", "TOKEN"} and not words & {"PATH", "MINUTES", "SECONDS", "DAYS"}:
            assert item["secret"], item["name"]


def test_the_status_says_what_runs_and_what_ends_soon(cast: Cast) -> None:
    now = clock.now()
    beat: dict[str, Any] = {"host": "h", "pid": 1, "started_at": now}
    Heartbeat.insert(instance="w", role="worker", seen_at=now, **beat).execute()
    Heartbeat.insert(instance="old", role="worker", seen_at=now - timedelta(hours=1), **beat).execute()
    Heartbeat.insert(instance="s", role="scheduler", seen_at=now, leading_until=now + timedelta(minutes=1), **beat).execute()
    for number, (name, days, revoked) in enumerate(
        [("soon", 6.5, False), ("renewed", 3, False), ("renewed", 300, False), ("ended", -1.5, False), ("gone", 2, True)]
    ):
        ends = now + timedelta(days=days)
        Certificate.insert(
            serial=f"{number}", name=name, kind="client", not_before=now, not_after=ends, pem="x",
            revoked_at=now if revoked else None,
        ).execute()  # fmt: skip
    PeriodicJob.insert(name="backup", due_at=now + timedelta(hours=1)).execute()
    jobs.finished("backup", "backup_20260301_020000.zip, 7 bytes")
    found = cast.get(STATUS, "operator").json
    roles = {role["role"]: (role["processes"], role["leaders"]) for role in found["roles"]}
    assert roles == {"main": (0, None), "proxy": (None, None), "worker": (1, None), "scheduler": (1, 1), "portal": (None, None)}
    assert tuple(roles) == NAMES
    assert [(one["name"], one["days_left"]) for one in found["certificates"]] == [("ended", -2), ("soon", 6)]
    assert [(job["name"], job["last_result"]) for job in found["jobs"]] == [("backup", "backup_20260301_020000.zip, 7 bytes")]
    assert found["database"].split()[0] in ("SQLite", "MariaDB", "MySQL")
    assert "does not answer" in found["redis_problem"]
    assert (found["queues"], found["ingest_failures"]) == ([], 0)


def test_the_status_names_the_newest_backup(cast: Cast) -> None:
    assert cast.get(STATUS, "operator").json["last_backup"] is None
    folder = cast.settings.path(cast.settings.backup_dir)
    folder.mkdir()
    (folder / "backup_20260301_020000.zip").write_bytes(b"cut off")
    found = cast.get(STATUS, "operator").json["last_backup"]
    assert (found["name"], found["bytes"], found["messages"]) == ("backup_20260301_020000.zip", 7, None)
    assert found["problem"]
    (folder / "before_restore_20270301_020000.zip").write_bytes(b"no backup, but what a restore put aside")
    if is_mysql():
        return  # the settings of this test name no server to dump
    made = backup.create(cast.settings)
    found = cast.get(STATUS, "operator").json["last_backup"]
    assert (found["name"], found["messages"], found["problem"]) == (made.name, 0, None)


def test_with_redis_the_status_has_the_queues(cast: Cast, redis_url: str) -> None:
    with redis_py.Redis.from_url(redis_url) as client:
        found = status.look(cast.settings, client)
    assert found.redis_problem is None
    assert [queue.queue for queue in found.queues] == ["critical", "high", "normal", "low", "ops"]
    assert found.last_backup is None


@pytest.mark.parametrize("path", [SETTINGS, STATUS])
@pytest.mark.parametrize(("role", "expected"), [("user", 403), ("user_manager", 403), ("operator", 200), ("admin", 200)])
def test_who_may(cast: Cast, path: str, role: str, expected: int) -> None:
    assert cast.get(path, role).status_code == expected
    assert_problem(cast.get(path), 401, "token-required")


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/metrics", "/health", "/api/v1/health", "/api/v1/health/ready"])
def test_the_names_that_runbooks_use(cast: Cast, path: str) -> None:
    answer = cast.get(path, address="127.0.0.1")
    assert answer.status_code == 200, answer.text
