"""Passwords of servers that are set up together with the roles."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import redis as redis_py
from dotenv import dotenv_values
from support.servers import Redis

from messagebroker.errors import ConfigurationError
from messagebroker.ops.server_secrets import Address, MySQLSecrets, RedisSecrets, access_list, grafana_password

pytestmark = pytest.mark.skipif(os.name != "posix", reason="for containers: Linux")
MYSQL, REDIS = Address("mysql", 3306), Address("redis", 6379)


@pytest.fixture
def env(tmp_path: Path) -> Path:
    return tmp_path / "main_server" / ".env"


@pytest.fixture
def for_mysql(tmp_path: Path) -> MySQLSecrets:
    return MySQLSecrets(tmp_path / "mysql", os.getgid())


@pytest.fixture
def for_redis(tmp_path: Path) -> RedisSecrets:
    return RedisSecrets(tmp_path / "redis", os.getgid())


def value(env: Path, name: str) -> str:
    return str(dotenv_values(env, interpolate=False)[name])


def test_main_learns_the_passwords_that_the_servers_get(for_mysql: MySQLSecrets, for_redis: RedisSecrets, env: Path) -> None:
    for_mysql.make(env, MYSQL)
    for_redis.make(env, REDIS)
    database, queue = urlsplit(value(env, "DATABASE_URL")), urlsplit(value(env, "REDIS_URL"))
    assert unquote(database.password or "") == (for_mysql.folder / "password").read_text()
    assert (database.username, database.hostname, database.path) == ("systemuser", "mysql", "/message_system")
    digest = hashlib.sha256(unquote(queue.password or "").encode()).hexdigest()
    assert f"user messagebroker on #{digest} " in (for_redis.folder / "users.acl").read_text()
    assert env.stat().st_mode & 0o777 == 0o600


def test_a_second_time_nothing_is_changed(for_mysql: MySQLSecrets, for_redis: RedisSecrets, env: Path) -> None:
    assert for_mysql.make(env, MYSQL)
    assert for_redis.make(env, REDIS)
    assert [*for_mysql.make(env, MYSQL), *for_redis.make(env, REDIS)] == []


def test_what_was_lost_comes_back_with_the_same_password(for_mysql: MySQLSecrets, for_redis: RedisSecrets, env: Path) -> None:
    for_mysql.make(env, MYSQL)
    for_redis.make(env, REDIS)
    password, users = (for_mysql.folder / "password").read_text(), (for_redis.folder / "users.acl").read_text()
    (for_mysql.folder / "password").unlink()
    (for_redis.folder / "users.acl").unlink()
    for_mysql.make(env, MYSQL)
    for_redis.make(env, REDIS)
    assert (for_mysql.folder / "password").read_text() == password
    assert (for_redis.folder / "users.acl").read_text() == users
    env.unlink()  # main's home is new, MySQL's data is not
    for_mysql.make(env, MYSQL)
    assert unquote(urlsplit(value(env, "DATABASE_URL")).password or "") == password


def test_other_lines_of_mains_file_stay(for_mysql: MySQLSecrets, env: Path) -> None:
    env.parent.mkdir()
    env.write_text("# mine\nJWT_SECRET=abc\n", encoding="utf-8")
    for_mysql.make(env, MYSQL)
    assert env.read_text(encoding="utf-8").startswith("# mine\nJWT_SECRET=abc\n")


def test_a_server_of_the_operators_own_is_not_overwritten(for_mysql: MySQLSecrets, env: Path) -> None:
    env.parent.mkdir()
    text = "DATABASE_URL=mysql+pymysql://us:secret@db.example.org/message_system\n"
    env.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="a server of your own"):
        for_mysql.make(env, MYSQL)
    assert env.read_text(encoding="utf-8") == text
    assert not for_mysql.folder.exists()


def test_only_the_servers_group_may_read(for_mysql: MySQLSecrets, env: Path) -> None:
    for_mysql.make(env, MYSQL)
    assert for_mysql.folder.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in for_mysql.folder.iterdir()} == {0o440}
    (for_mysql.folder / "password").chmod(0o644)
    for_mysql.make(env, MYSQL)
    assert (for_mysql.folder / "password").stat().st_mode & 0o777 == 0o440


def test_a_group_that_we_are_not_in_is_named(tmp_path: Path, env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(ConfigurationError, match="group 4711"):
        MySQLSecrets(tmp_path / "mysql", 4711).make(env, MYSQL)


def test_grafanas_password_is_made_once(tmp_path: Path) -> None:
    assert len(grafana_password(tmp_path)) == 1
    assert grafana_password(tmp_path) == []


def test_transactions_survive_a_restart_of_a_redis_with_this_list(tmp_path: Path) -> None:
    """Redis takes the rights of `default` when it reads its append-only file."""
    users = tmp_path / "users.acl"
    users.write_text(access_list("secret", "other"), encoding="utf-8")
    with RestrictedRedis(users) as server:
        with client(server) as connection, connection.pipeline(transaction=True) as transaction:
            transaction.hset("messagebroker:test", "a", "1").rpush("messagebroker:list", "b").execute()
        server.kill()
        server.start()
        with client(server) as connection:
            assert connection.hget("messagebroker:test", "a") == b"1"
        log = (server.folder / "log").read_text(encoding="utf-8", errors="replace")
    assert not re.search("sending an error to its AOF", log)


class RestrictedRedis(Redis):
    def __init__(self, users: Path) -> None:
        super().__init__("--aclfile", str(users))

    def answers(self) -> bool:
        try:
            with client(self) as connection:
                return bool(connection.time())
        except redis_py.RedisError:
            return False


def client(server: Redis) -> redis_py.Redis:
    return redis_py.Redis(port=server.port, username="messagebroker", password="secret", socket_timeout=1)
