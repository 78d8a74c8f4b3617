"""The roles over a real MySQL that is killed with -9 and comes back on its data: every 202 is stored exactly once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.installation import Installation
from support.ledger import Sender, assert_exactly_once, stored_markers
from support.mysql import MySQL
from support.servers import Redis

from messagebroker.client import MessageBroker

pytestmark = [pytest.mark.tier("mysql"), pytest.mark.timeout(300)]
KILLS = 3


@pytest.fixture(scope="module")
def mysql() -> Iterator[MySQL]:
    """One of its own, with a binary log, as servers have them."""
    with MySQL("--log-bin") as server:
        yield server


@pytest.fixture
def installation(mysql: MySQL, tmp_path: Path) -> Iterator[Installation]:
    with Redis() as redis, Installation(tmp_path, redis_url=redis.url, database_url=mysql.fresh("roles")) as it:
        it.start("main", "proxy", "worker", "scheduler")
        yield it


def test_every_202_is_stored_exactly_once_though_mysql_is_killed(installation: Installation, mysql: MySQL) -> None:
    senders = [Sender(installation, installation.client(f"sender-{n}"), n, patient=n % 2 == 0) for n in range(4)]
    for sender in senders:
        sender.wait_until_known()
    threads = [threading.Thread(target=sender.run) for sender in senders]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(random.uniform(0.5, 1.5))
            mysql.kill()
            time.sleep(random.uniform(0.0, 1.0))
            mysql.start()
    finally:
        for sender in senders:
            sender.stop.set()
        for thread in threads:
            thread.join(60)
    accepted = sum(len(sender.accepted) for sender in senders)
    assert accepted > 100 * KILLS, "too little traffic to prove anything"
    assert not set().union(*(sender.refusals for sender in senders)) - {"503"}, "only Redis or the proxy may refuse"
    installation.wait_until_drained(90)
    assert_exactly_once(senders, stored_markers(installation))
    assert installation.dead_letters() == 0


def test_what_comes_in_while_mysql_is_dead_is_there_when_it_is_back(installation: Installation, mysql: MySQL) -> None:
    files = installation.client("warehouse-7")
    with MessageBroker(installation.url("proxy"), ca=files.ca, cert=files.cert, key=files.key) as broker:
        mysql.kill()
        taken = [broker.submit(f"parcel {number}", sender="+4915112345678") for number in range(20)]
        assert installation.waiting() == len(taken)
        mysql.start()
        for number, accepted in enumerate(taken):
            message = broker.get(accepted.message_id, wait=30)
            assert (message.status, message.body, message.sender) == ("delivered", f"parcel {number}", "+4915112345678")
    installation.wait_until_drained()
    assert sum(stored_markers(installation).values()) == len(taken)
