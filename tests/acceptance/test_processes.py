"""The five roles as processes of their own, on MariaDB: together, idle, stopping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from support.installation import Installation
from support.servers import MariaDB, Redis

from messagebroker.client import Draft, MessageBroker
from messagebroker.roles import BY_NAME, NAMES

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(180)]
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, mariadb_server: MariaDB) -> Iterator[Installation]:
    with (
        Redis() as redis,
        Installation(
            tmp_path_factory.mktemp("roles"), redis_url=redis.url, database_url=mariadb_server.fresh("processes")
        ) as it,
    ):
        it.start(*NAMES)
        yield it


def test_a_message_goes_in_and_comes_back(installation: Installation) -> None:
    files = installation.client("warehouse-7")
    with MessageBroker(installation.url("proxy"), ca=files.ca, cert=files.cert, key=files.key) as broker:
        taken = broker.submit("ein Gruß", topic="orders", sender="+4915112345678", metadata={"colour": "red"})
        assert taken.durability == "fsync"
        message = broker.get(taken.message_id, wait=10)
    assert (message.status, message.client_id, message.topic) == ("delivered", "warehouse-7", "orders")
    assert (message.body, message.sender, message.metadata) == ("ein Gruß", "+4915112345678", {"colour": "red"})
    installation.wait_until_drained()
    assert installation.dead_letters() == 0


def test_both_books_agree(installation: Installation) -> None:
    """What a sender was told is what is stored: id by id, and hour by hour."""
    files, other = installation.client("till-7"), installation.client("till-8")
    began = datetime.now(UTC)
    with (
        MessageBroker(installation.url("proxy"), ca=files.ca, cert=files.cert, key=files.key) as broker,
        MessageBroker(installation.url("proxy"), ca=other.ca, cert=other.cert, key=other.key) as stranger,
    ):
        stranger.submit("not of these books")
        taken = [item.message_id for item in broker.submit_batch([Draft(body=f"{n}") for n in range(250)]).items]
        taken += [broker.submit("one more").message_id for _ in range(10)]
        installation.wait_until_drained()
        listed: list[str] = []
        cursor: str | None = None
        while True:
            page = broker.list_messages(since=began, oldest_first=True, limit=100, cursor=cursor)
            listed += [message.message_id for message in page.items]
            cursor = page.next
            if cursor is None:
                break
        counted = broker.counts(since=began)
    assert sorted(listed) == sorted(str(message_id) for message_id in taken)
    assert (counted.client_id, counted.stored, counted.copies, counted.set_aside) == ("till-7", 260, 0, 0)
    assert sum(hour.stored for hour in counted.items) == 260


@pytest.mark.parametrize("name", NAMES)
def test_a_role_idles_in_little_memory(installation: Installation, name: str) -> None:
    process = psutil.Process(installation.pid(name))
    used = sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
    limit = 150 if name == "portal" else 90
    assert used < limit * MEGABYTE, f"{name} uses {used / MEGABYTE:.0f} MB"


@pytest.mark.parametrize("name", NAMES)
def test_a_role_idles_without_work(installation: Installation, name: str) -> None:
    process = psutil.Process(installation.pid(name))
    before = process.cpu_times()
    time.sleep(2)
    after = process.cpu_times()
    busy = (after.user + after.system - before.user - before.system) / 2
    assert busy < 0.1, f"{name} uses {busy:.0%} of a core while nothing happens"


@pytest.mark.parametrize("name", NAMES)
def test_a_role_stops_in_its_time_and_starts_again(installation: Installation, name: str) -> None:
    began = time.monotonic()
    assert installation.stop(name) == 0, installation.log(name)
    assert time.monotonic() - began < BY_NAME[name].stop_seconds
    assert '"event": "role stopped"' in installation.log(name)
    installation.start(name)


def test_no_password_is_in_the_arguments_or_the_logs(installation: Installation) -> None:
    assert installation.made
    assert installation.made.admin_password
    for name in NAMES:
        assert ":test@" not in " ".join(psutil.Process(installation.pid(name)).cmdline())
    for log in Path(installation.folder).rglob("*.log"):
        text = log.read_text(encoding="utf-8", errors="replace")
        assert ":test@" not in text, log
        assert installation.made.admin_password not in text, log
