"""`just bench-people`: what a request pays for who asks and for being written down, on MariaDB with full durability.

python -m bench.people [--times 300]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import falcon
from falcon import testing
from support.cast import PASSWORD, Cast, FakeWatcher
from support.servers import MariaDB, Redis

from messagebroker.db import schema
from messagebroker.db.connection import connected, database, open_database
from messagebroker.http.main import app as main_app
from messagebroker.http.main.callers import Caller, Callers
from messagebroker.http.main.failures import Failures
from messagebroker.ops import audit, keyring, passwords, sessions
from messagebroker.ops.audit import Actor
from messagebroker.ops.redis_client import connect
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import load

LOGIN = "/api/v1/auth/login"
ADA = Actor(name="user:ada@example.org", address="192.0.2.7", user_agent="Browser 1")


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=300, help="of each; a tenth of it for what is slow on purpose")
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder, MariaDB() as server, Redis() as redis_server:
        settings = load(
            {}, data_dir=Path(folder), environment="test", database_url=server.url(), redis_url=redis_server.url,
            api_rate_per_user=10**6, api_rate_per_address=10**6,
        )  # fmt: skip
        opened = open_database(settings)
        schema.upgrade()
        keyring.first_secrets(settings)
        redis = connect(settings)
        cast = Cast(main_app.make(settings, watcher=FakeWatcher(), redis=redis), Tokens.load(settings), FakeWatcher(), settings)
        print("| what | median | p99 | processor time of main |\n|---|--:|--:|--:|")
        _people(cast, times)
        _audit(times)
        redis.close()
        opened.close()


def _people(cast: Cast, times: int) -> None:
    person = cast.person("operator")
    check = Callers(cast.tokens, open_paths=frozenset(), anonymous_paths=frozenset())
    request = testing.create_req(path=Failures.operations[0].path)
    request.context.caller = Caller(person=person)
    response, resource = falcon.Response(), Failures()
    _tell("a permission check", lambda: check.process_resource(request, response, resource, {}), times)
    access = cast.token("operator")
    _tell("the person of a token", lambda: cast.tokens.holder(access), times)
    refresh = [sessions.begin(cast.tokens, person).refresh]

    def refreshed() -> None:
        refresh.append(sessions.refresh(cast.tokens, refresh.pop(), actor=ADA).refresh)

    _tell("a refresh", refreshed, times)
    _tell("argon2id alone", lambda: passwords.matches(person.password_hash, PASSWORD), max(times // 10, 10))

    def login() -> None:
        answer = cast.post(LOGIN, json={"email": person.email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text

    _tell("a login, whole", login, max(times // 10, 10))


def _audit(times: int) -> None:
    def row() -> None:
        audit.record_by(ADA, "message.open", "message", "0190", {"client": "acme"})

    with connected(), database.atomic():
        _tell("an audit row inside the request's transaction, signed", row, times)
    _tell("an audit row in a transaction of its own, with its commit", row, times)


def _tell(what: str, work: Callable[[], object], times: int) -> None:
    work()  # the first one connects and compiles
    seconds, processor = [], time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    processor = (time.process_time() - processor) / times
    seconds.sort()
    figures = (statistics.median(seconds), seconds[int(times * 0.99)], processor)
    print(f"| {what} | {' | '.join(f'{figure * 1000:.4f} ms' for figure in figures)} |", flush=True)


if __name__ == "__main__":
    main()
