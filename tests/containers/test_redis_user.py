"""What the roles' Redis user may not do: a proxy that was broken into cannot empty or stop the queue."""

from __future__ import annotations

import json

import pytest
from support.containers import Project, as_json

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(180)]
REFUSED = (
    ["FLUSHALL"], ["FLUSHDB"], ["KEYS", "*"], ["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "REWRITE"], ["SHUTDOWN"],
    ["DEBUG", "SLEEP", "0"], ["ACL", "LIST"], ["REPLICAOF", "127.0.0.1", "1"], ["SCRIPT", "FLUSH"], ["MONITOR"], ["SAVE"],
    ["SWAPDB", "0", "1"], ["CLIENT", "KILL", "TYPE", "normal"], ["GET", "a-key-of-somebody-else"], ["SET", "another", "1"],
    ["EVAL", "return redis.call('flushall')", "0"],
)  # fmt: skip
REFUSALS = ("no permissions", "can't run this command", "DEBUG command not allowed")
ALLOWED = (["PING"], ["INFO", "memory"], ["CONFIG", "GET", "maxmemory"], ["TIME"], ["HGETALL", "messagebroker:depth"])
ASK = """
import json, os, sys
from messagebroker.ops.redis_client import connect
from messagebroker.settings import load
import redis
answers = []
for words in json.loads(sys.argv[1]):
    with connect(load()) as client:
        try:
            client.execute_command(*words)
            answers.append("")
        except redis.exceptions.RedisError as error:
            answers.append(str(error))
print(json.dumps({"answers": answers}))
"""


def answers(project: Project, role: str, commands: tuple[list[str], ...]) -> list[str]:
    return list(as_json(project.run(role, "python", "-c", ASK, json.dumps(commands)))["answers"])


def test_it_can_neither_empty_nor_list_nor_stop_nor_configure_redis(system: Project) -> None:
    said = dict(zip(map(" ".join, REFUSED), answers(system, "proxy", REFUSED), strict=True))
    assert {words: text for words, text in said.items() if not any(word in text for word in REFUSALS)} == {}


def test_it_can_do_what_the_roles_need(system: Project) -> None:
    assert answers(system, "proxy", ALLOWED) == [""] * len(ALLOWED)


def test_nobody_comes_in_without_a_name_and_a_password(system: Project) -> None:
    said = system.run("redis", "redis-cli", "PING")
    assert "NOAUTH" in said or "Authentication required" in said


def test_the_health_checks_user_may_ask_and_nothing_else(system: Project) -> None:
    script = 'REDISCLI_AUTH="$(cat /run/secrets/redis/health-password)" redis-cli --user health "$0" "$@"'
    assert "PONG" in system.run("redis", "sh", "-c", script, "PING")
    assert "NOPERM" in system.run("redis", "sh", "-c", script, "GET", "messagebroker:policy")


def test_redis_runs_as_the_product_needs_it(system: Project) -> None:
    code = (
        "from messagebroker.ops.redis_client import connect; from messagebroker.settings import load; import json\n"
        "with connect(load()) as client:\n"
        "    print(json.dumps({name: client.config_get(name)[name] for name in"
        " ('appendonly', 'appendfsync', 'maxmemory-policy', 'maxmemory', 'save')}))"
    )
    settings = as_json(system.run("main", "python", "-c", code))
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "maxmemory": str(512 * 1024 * 1024),
        "save": "",
    }
