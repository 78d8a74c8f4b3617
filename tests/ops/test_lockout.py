from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis as redis_py
from support.lockouts import pass_time

from messagebroker.ops import lockout
from messagebroker.ops.limits import Shared
from messagebroker.ops.lockout import ACCOUNT, ADDRESS, PAIR, Lockout
from messagebroker.ops.redis_client import connect
from messagebroker.settings import load

ADA, HERE, THERE = "ada@example.org", "192.0.2.7", "198.51.100.1"


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_py.Redis]:
    with connect(load({}, environment="test", redis_url=redis_url)) as client:
        yield client


def new(redis: redis_py.Redis, *known: str) -> Lockout:
    return Lockout(Shared(redis), "login", is_known=lambda account, address: address in known)


def fail(lock: Lockout, address: str = HERE, account: str = ADA) -> float:
    wait = lock.begin(account, address)
    if wait == 0:
        lock.failed(account, address)
    return wait


def test_delays_grow_to_a_quarter_of_an_hour(redis: redis_py.Redis) -> None:
    lock, waits = new(redis, HERE), []
    for _ in range(4):
        assert fail(lock) == 0
    for _ in range(13):
        pass_time(redis, 0)
        assert fail(lock) == 0
        wait = lock.begin(ADA, HERE)
        assert 0 < wait <= 900
        waits.append(round(wait))
        pass_time(redis, wait)
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert waits[-1] == 900


def test_attempts_during_a_delay_do_not_prolong_it(redis: redis_py.Redis) -> None:
    lock = new(redis)
    for _ in range(5):
        fail(lock)
    for _ in range(200):
        assert lock.begin(ADA, HERE) <= 1
    pass_time(redis, 1)
    assert lock.begin(ADA, HERE) == 0


def test_all_addresses_of_an_ipv6_network_are_one(redis: redis_py.Redis) -> None:
    """A host there has 2^64 of them to guess from."""
    lock = new(redis)
    for number in range(1, 6):
        assert fail(lock, f"2001:db8::{number:x}") == 0
    assert lock.begin(ADA, "2001:db8::ffff:1") > 0
    assert lock.begin(ADA, "2001:db8:0:1::1") == 0


def test_failures_are_forgotten_with_time(redis: redis_py.Redis) -> None:
    lock = new(redis)
    for _ in range(5):
        fail(lock)
    pass_time(redis, 5 * 600)
    for _ in range(4):
        assert fail(lock) == 0
    assert all(0 < redis.ttl(key) <= 50 * 600 for key in redis.keys("messagebroker:lockout:*"))


def test_a_botnet_is_slowed_down_and_its_victim_is_not_where_they_always_are(redis: redis_py.Redis) -> None:
    lock = new(redis, HERE)
    assert [fail(lock, f"203.0.113.{number}") for number in range(10)] == [0] * 10
    assert fail(lock, "203.0.113.99") > 0
    assert lock.begin(ADA, HERE) == 0, "she has logged in from here before"
    lock.succeeded(ADA, HERE)
    assert lock.begin("bob@example.org", "203.0.113.99") == 0, "another account"


def guess_at_every_chance(redis: redis_py.Redis, lock: Lockout, hours: float) -> Iterator[int]:
    """From a new address each time, as soon as a guess is let through; yields after each how many there were."""
    guesses, seconds = 0, 0.0
    while seconds < hours * 3600:
        address = f"203.0.{guesses // 250}.{guesses % 250}"
        wait = lock.begin(ADA, address)
        if wait == 0:
            lock.failed(ADA, address)
            guesses += 1
            yield guesses
        else:
            seconds += wait + 0.001
            pass_time(redis, wait + 0.001, ACCOUNT)


def test_guessing_for_hours_shuts_nobody_out_who_is_known(redis: redis_py.Redis) -> None:
    known = {HERE}
    lock = Lockout(Shared(redis), "login", is_known=lambda account, address: address in known)
    for guesses in guess_at_every_chance(redis, lock, hours=6):
        assert lock.begin(ADA, HERE) == 0, guesses
        lock.succeeded(ADA, HERE)
        if guesses > 19:
            assert lock.begin(ADA, THERE) > 500, "a stranger would always come too late; so she resets her password"
    assert guesses > 30
    known.add(THERE)
    lock.clear(ADA, THERE)
    for _ in guess_at_every_chance(redis, lock, hours=6):
        assert lock.begin(ADA, THERE) == 0
        lock.succeeded(ADA, THERE)


def test_who_is_known_is_not_held_up_by_a_neighbour_who_tries_everybody(redis: redis_py.Redis) -> None:
    lock = Lockout(Shared(redis), "login", is_known=lambda account, address: account == ADA)
    for number in range(60):
        fail(lock, HERE, f"user{number}@example.org")
    assert lock.begin("bob@example.org", HERE) > 0
    assert lock.begin(ADA, HERE) == 0


@pytest.mark.parametrize("patience", [0, 600])
def test_many_addresses_have_so_many_guesses_a_day_and_no_more(redis: redis_py.Redis, patience: float) -> None:
    lock, days, number, seconds = new(redis), [0, 0], 0, 0.0
    while seconds < 2 * 86_400:
        wait = lock.begin(ADA, f"203.0.{number // 250}.{number % 250}")
        if wait == 0:
            days[int(seconds // 86_400)] += 1
            number += 1
        pause = wait + 0.001 if wait else (patience if number > 19 else 0)
        seconds += pause
        if pause:
            pass_time(redis, pause, ACCOUNT)
    assert 96 <= days[0] <= 164
    assert 90 <= days[1] <= 144


def test_a_reset_ends_the_delays_of_where_it_was_made(redis: redis_py.Redis) -> None:
    lock = new(redis)
    for _ in range(8):
        pass_time(redis, fail(lock, THERE))
    while fail(lock, THERE) == 0:
        pass
    lock.clear(ADA, THERE)
    assert lock.begin(ADA, THERE) == 0


def test_only_the_scopes_that_are_asked_for_judge(redis: redis_py.Redis) -> None:
    by_address = Lockout(Shared(redis), "forgotten", scopes=(ADDRESS,))
    for number in range(20):
        assert by_address.begin(ADA, f"203.0.113.{number}") == 0
    for _ in range(30):
        assert by_address.begin(ADA, HERE) == 0
    by_pair = Lockout(Shared(redis), "inside", scopes=(PAIR,))
    for _ in range(5):
        by_pair.begin(ADA, HERE)
    assert by_pair.begin(ADA, HERE) > 0
    assert by_pair.begin(ADA, THERE) == 0


def test_one_address_that_tries_everybody_is_slowed_down(redis: redis_py.Redis) -> None:
    lock = new(redis)
    tried = [fail(lock, HERE, f"user{number}@example.org") for number in range(60)]
    assert tried[:50] == [0] * 50
    assert tried[50] > 0
    assert lock.begin(ADA, THERE) == 0


def test_a_success_forgives_this_address_only(redis: redis_py.Redis) -> None:
    lock = new(redis, HERE, THERE)
    for _ in range(4):
        fail(lock)
        fail(lock, THERE)
    assert lock.begin(ADA, HERE) == 0
    lock.succeeded(ADA, HERE)
    for _ in range(4):
        assert fail(lock) == 0, "as if it were the first"
    fail(lock, THERE)
    assert lock.begin(ADA, THERE) > 0


def test_a_right_password_without_its_code_resets_nothing(redis: redis_py.Redis) -> None:
    lock = new(redis, HERE)
    waits = []
    for _ in range(8):
        assert lock.begin(ADA, HERE) == 0
        lock.forgiven(ADA, HERE)  # the password, no code
        assert lock.begin(ADA, HERE) == 0
        lock.failed(ADA, HERE)  # a guessed code
        waits.append(round(lock.begin(ADA, HERE)) if len(waits) >= 4 else 0)
        pass_time(redis, waits[-1])
    assert waits[4:] == [1, 2, 4, 8]


def test_a_hundred_at_once_are_not_all_the_first(redis: redis_py.Redis) -> None:
    lock, waits, ready = new(redis), [], threading.Barrier(20)

    def attempt() -> None:
        ready.wait()
        waits.append(lock.begin(ADA, HERE))

    threads = [threading.Thread(target=attempt) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert waits.count(0) == 5


def test_what_was_typed_is_not_kept(redis: redis_py.Redis) -> None:
    fail(new(redis), account="MySecretPassword1")
    assert not [key for key in redis.keys("*") if b"secret" in key.lower()]


def test_without_redis_each_process_counts() -> None:
    with connect(load({}, environment="test", redis_port=1)) as nowhere:
        lock = new(nowhere)
        assert [fail(lock) for _ in range(5)] == [0] * 5
        assert 0 < lock.begin(ADA, HERE) <= 300
        assert lock.begin(ADA, THERE) == 0
        lock.succeeded(ADA, HERE)
        assert lock.begin(ADA, HERE) == 0


def test_without_redis_many_addresses_are_bounded_too_and_who_is_known_gets_in() -> None:
    with connect(load({}, environment="test", redis_port=1)) as nowhere:
        lock = new(nowhere, HERE)
        assert [fail(lock, f"203.0.113.{number}") for number in range(20)] == [0] * 20
        assert 0 < lock.begin(ADA, THERE) <= 900
        assert lock.begin(ADA, HERE) == 0
        lock.clear(ADA, THERE)
        assert lock.begin(ADA, THERE) == 0


def test_a_redis_that_went_away_is_no_fresh_start(redis: redis_py.Redis) -> None:
    lock = new(redis)
    for _ in range(5):
        fail(lock)
    lock._shared._away_until = float("inf")
    assert lock.begin(ADA, HERE) > 0
    assert lockout.LONGEST_SECONDS == 900
