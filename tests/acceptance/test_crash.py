"""kill -9 of every part at random moments, under load: every 202 is stored exactly once.

A round is one kill. CRASH_ROUNDS says how many (`just soak` sets hundreds); the floor is in tests/budgets.toml.
"""

from __future__ import annotations

import collections
import os
import random
import threading
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.installation import Installation
from support.ledger import Sender, assert_exactly_once, stored_markers
from support.servers import MariaDB, Redis

BUDGET = tomllib.loads((Path(__file__).parents[1] / "budgets.toml").read_text(encoding="utf-8"))["crash"]
ROUNDS = int(os.environ.get("CRASH_ROUNDS", BUDGET["rounds"]))
VICTIMS = ("worker", "proxy", "redis", "mariadb")


def _kill_and_restart(victim: str, installation: Installation, redis: Redis, mariadb: MariaDB) -> None:
    time.sleep(random.uniform(0.1, 0.8))
    if victim in {"worker", "proxy"}:
        installation.kill(victim)
        installation.start(victim)
    else:
        server = redis if victim == "redis" else mariadb
        server.kill()
        time.sleep(random.uniform(0.0, 0.5))
        server.start()


@pytest.mark.tier("crash")
@pytest.mark.timeout(0)  # the tier's own budget ends it
def test_every_202_is_stored_exactly_once(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    seed = int(os.environ.get("CRASH_SEED", random.randrange(2**32)))
    print(f"CRASH_SEED={seed}")
    random.seed(seed)
    with Redis() as redis, MariaDB() as mariadb:
        with Installation(tmp_path, redis_url=redis.url, database_url=mariadb.url()) as installation:
            for role in ("main", "proxy", "worker"):
                installation.start(role)
            senders = [Sender(installation, installation.client(f"sender-{n}"), n, patient=n % 2 == 0) for n in range(6)]
            for sender in senders:
                sender.wait_until_known()
            threads = [threading.Thread(target=sender.run) for sender in senders]
            for thread in threads:
                thread.start()
            kills: collections.Counter[str] = collections.Counter()
            try:
                for number in range(ROUNDS):
                    victim = VICTIMS[number % len(VICTIMS)]
                    _kill_and_restart(victim, installation, redis, mariadb)
                    kills[victim] += 1
            finally:
                for sender in senders:
                    sender.stop.set()
                for thread in threads:
                    thread.join(60)
            assert not any(thread.is_alive() for thread in threads), "a sender hangs"
            installation.wait_until_drained(90)
            stored = stored_markers(installation)

        accepted = {marker for sender in senders for marker in sender.accepted}
        sent = {marker for sender in senders for marker in sender.sent}
        refusals: collections.Counter[str] = sum((sender.refusals for sender in senders), collections.Counter())
        print(f"{sum(kills.values())} rounds: {dict(kills)}; {len(sent)} sent, {len(accepted)} accepted")
        print(f"{sum(stored.values())} stored; answers other than 202: {dict(refusals)}")
        record_property("rounds", sum(kills.values()))
        assert sum(kills.values()) >= min(ROUNDS, BUDGET["rounds"])
        assert len(accepted) > 10 * ROUNDS, "too little traffic to prove anything"
        assert_exactly_once(senders, stored)
        assert set(refusals) <= {"503", "409", "network"}, f"senders saw {dict(refusals)}"
        assert installation.dead_letters() == 0
