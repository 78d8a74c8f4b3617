"""Servers that are too old are refused before anything is made, with what to install instead."""

from __future__ import annotations

from collections.abc import Iterator

import redis

from messagebroker.db import inspection
from messagebroker.db.connection import connected, open_database
from messagebroker.errors import ConfigurationError, Unavailable
from messagebroker.ops import doctor_database, doctor_redis
from messagebroker.ops.redis_client import connect
from messagebroker.settings import Settings

_DATABASE_INSTEAD = "install MySQL 8.0 or newer (8.4 is the long-term one), or MariaDB 10.6 or newer"
_REDIS_INSTEAD = (
    "install Redis 6.2 or newer; on Windows Memurai 4 is one (the package `redis-64`, which older guides name, is Redis 3.0"
    " of 2016: uninstall it), or Redis on another machine or in WSL"
)


def require(settings: Settings) -> list[str]:
    """The servers that the settings name, as people say them.

    Raises:
        ConfigurationError: at least one is too old; all that are wrong at once.
        Unavailable: one does not answer.
    """
    found = [_database(settings), _redis(settings)]
    problems = list(_too_old(found))
    if problems:
        raise ConfigurationError("; ".join(problems))
    return found


def numbers(version: str) -> tuple[int, int]:
    """`8.0` of "8.0.41-log"."""
    first, second, *_ = [*version.split("."), "0"]
    return int(first), int("".join(letter for letter in second if letter.isdigit()) or 0)


def _too_old(servers: list[str]) -> Iterator[str]:
    oldest = {**doctor_database.OLDEST, "Redis": doctor_redis.OLDEST}
    for server in servers:
        kind, _, version = server.partition(" ")
        if numbers(version) < oldest[kind]:
            yield f"{server} is too old: {_REDIS_INSTEAD if kind == 'Redis' else _DATABASE_INSTEAD}"


def _database(settings: Settings) -> str:
    open_database(settings)
    with connected():
        return inspection.server()


def _redis(settings: Settings) -> str:
    try:
        with connect(settings) as client:
            return f"Redis {client.info('server')['redis_version']}"
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not answer: {error}; start it, or set REDIS_HOST, REDIS_PORT or REDIS_URL") from error
