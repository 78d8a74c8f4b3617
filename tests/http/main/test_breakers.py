from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.cast import Cast, assert_problem, audited

from messagebroker.db.models import Subscription
from messagebroker.ops import breaker_events, clock
from messagebroker.ops.breakers import Breakers
from messagebroker.ops.redis_client import connect
from messagebroker.settings import load

PATH = "/api/v1/breakers"


def subscription(**changes: Any) -> int:
    now = clock.now()
    row = {"name": "orders", "channel": "webhook", "topics": "[]", "config": "{}", "created_at": now, "changed_at": now}
    return int(Subscription.insert(**{**row, **changes}).execute())


def opened(number: int, why: str = "HTTP 503") -> int:
    breaker_events.change(number, "open", why)
    return number


def all_pages(cast: Cast, path: str, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = cast.get(path, "operator", params={**params, **({"cursor": cursor} if cursor else {})}).json
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [2, 200])
def test_all_subscriptions_are_listed_by_number(cast: Cast, limit: int) -> None:
    numbers = [subscription() for _ in range(5)]
    Subscription.update(removed_at=clock.now()).where(Subscription.id == numbers[2]).execute()
    for at in (1, 2, 4):
        opened(numbers[at])
    breaker_events.change(numbers[4], "half-open", "a probe")
    found = all_pages(cast, PATH, limit=limit)
    assert [(one["subscription_id"], one["state"]) for one in found] == [
        (numbers[0], "closed"), (numbers[1], "open"), (numbers[3], "closed"), (numbers[4], "half-open"),
    ]  # fmt: skip
    for state, expected in (("open", [numbers[1]]), ("half-open", [numbers[4]]), ("closed", [numbers[0], numbers[3]])):
        assert [one["subscription_id"] for one in all_pages(cast, PATH, limit=limit, state=state)] == expected


def test_without_redis_the_events_say_what_is_open(cast: Cast) -> None:
    since = clock.now() - timedelta(hours=3)
    number = opened(subscription(failures=17, failing_since=since, disabled_at=clock.now()))
    [found] = cast.get(PATH, "operator").json["items"]
    assert (found["subscription_id"], found["name"], found["channel"]) == (number, "orders", "webhook")
    assert (found["failures"], found["disabled"], found["next_try"]) == (17, True, None)
    assert datetime.fromisoformat(found["failing_since"]) == since
    assert abs(datetime.fromisoformat(found["since"]) - clock.now()) < timedelta(minutes=1)
    assert_problem(cast.post(f"{PATH}/{number}/reset", "operator"), 503, "unavailable")
    assert audited("breaker.reset") == []


@pytest.mark.parametrize("limit", [2, 200])
def test_events_newest_first(cast: Cast, limit: int) -> None:
    one, two = opened(subscription()), opened(subscription())
    breaker_events.change(one, "half-open", "a probe")
    breaker_events.change(one, "half-open", "a probe")
    breaker_events.change(one, "closed", "works")
    found = [(row["subscription_id"], row["state"], row["why"]) for row in all_pages(cast, f"{PATH}/events", limit=limit)]
    of_one = [(one, "closed", "works"), (one, "half-open", "a probe"), (one, "open", "HTTP 503")]
    assert found == [*of_one[:2], (two, "open", "HTTP 503"), of_one[2]]
    mine = all_pages(cast, f"{PATH}/events", limit=limit, subscription_id=one)
    assert [(row["subscription_id"], row["state"], row["why"]) for row in mine] == of_one


def test_reset_reaches_every_worker(online: Cast) -> None:
    number = subscription()
    settings = load({}, environment="test", redis_url=online.settings.redis, breaker_failures=2)
    with connect(settings) as redis:
        one, other = Breakers(redis, settings), Breakers(redis, settings)
        for process in (one, other):
            process.refresh()
        one.record(number, 0, 2, "HTTP 503")
        other.refresh()
        [shown] = online.get(PATH, "operator", params={"state": "open"}).json["items"]
        left = datetime.fromisoformat(shown["next_try"]) - datetime.now(UTC)
        assert timedelta(seconds=20) < left < timedelta(seconds=40)
        answer = online.post(f"{PATH}/{number}/reset", "operator")
        assert (answer.status_code, answer.json["state"], answer.json["next_try"]) == (200, "closed", None)
        for process in (one, other):
            assert process.may_try(number) == 0
            process.refresh()
            assert process.may_try(number) is None
        one.record(number, 0, 1, "HTTP 503")
        assert one.may_try(number) is None, "it counts from nothing again"
    assert [row["state"] for row in online.get(f"{PATH}/events", "operator").json["items"]] == ["closed", "open"]
    assert "operator@example.org" in online.get(f"{PATH}/events", "operator").json["items"][0]["why"]
    [row] = audited("breaker.reset")
    assert (row.actor, row.object_type, row.object_id) == ("user:operator@example.org", "subscription", str(number))
    assert online.post(f"{PATH}/{number}/reset", "admin").status_code == 200, "it may be repeated"


def test_who_may_and_what_there_is(online: Cast) -> None:
    removed = subscription(removed_at=clock.now())
    for method, path in (("GET", PATH), ("GET", f"{PATH}/events"), ("POST", f"{PATH}/1/reset")):
        for role in ("user", "user_manager"):
            assert_problem(online.call(method, path, token=online.token(role)), 403, "forbidden")
    for number in (removed, removed + 1, "x", "0", "99999999999"):
        assert_problem(online.post(f"{PATH}/{number}/reset", "operator"), 404, "not-found")


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        (PATH, "cursor=AAAA", "cursor"), (PATH, "limit=0", "limit"), (PATH, "state=ajar", "state"),
        (f"{PATH}/events", "cursor=AAAA", "cursor"), (f"{PATH}/events", "subscription_id=x", "subscription_id"),
    ],
)  # fmt: skip
def test_bad_parameters(cast: Cast, path: str, query: str, field: str) -> None:
    assert assert_problem(cast.get(path, "operator", query_string=query), 400, "invalid-parameter")["field"] == field


def test_status_metrics_and_health_show_how_many_are_open(cast: Cast) -> None:
    for disabled in (None, None, clock.now()):
        opened(subscription(disabled_at=disabled))
    assert cast.get("/api/v1/status", "operator").json["open_breakers"] == 2
    metrics = cast.get("/metrics", peer="monitoring").text
    assert "messagebroker_breakers_open 2.0" in metrics
    health = cast.get("/health")
    assert health.status_code == 200
    assert [said for said in health.json["warnings"] if "breakers list" in said] == [
        "2 destinations fail: `messagebroker breakers list` shows them"
    ]
    Subscription.update(breaker="closed").execute()
    assert cast.get("/api/v1/status", "operator").json["open_breakers"] == 0
    assert [said for said in cast.get("/health").json["warnings"] if "breakers list" in said] == []
