"""Limits of the API: on main's application with small rates, with Redis and without."""

from __future__ import annotations

import pytest
from support.cast import PASSWORD, Cast, assert_problem

from messagebroker.http.main import app as main_app
from messagebroker.ops.redis_client import connect

ME, LOGIN = "/api/v1/auth/me", "/api/v1/auth/login"


def limited(cast: Cast, **rates: int) -> Cast:
    settings = cast.settings.model_copy(update=rates)
    cast.http.app = main_app.make(settings, watcher=cast.watcher, redis=connect(settings))
    return cast


@pytest.fixture(params=["redis", "without"])
def redis_settings(request: pytest.FixtureRequest) -> dict[str, object]:
    if request.param == "without":
        return {}
    from pydantic import SecretStr

    return {"redis_url": SecretStr(request.getfixturevalue("redis_url"))}


def test_a_person_is_limited_wherever_they_come_from(cast: Cast, redis_settings: dict[str, int]) -> None:
    limited(cast, api_rate_per_user=5, **redis_settings)
    token, other = cast.token("user"), cast.token("admin")
    answers = [cast.call("GET", ME, token=token, address=f"192.0.2.{number}") for number in range(12)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:5] == [200] * 5
    assert 429 in statuses
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert_problem(refused, 429, "rate-limited")
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit-policy"] == '"user";q=5;w=1'
    assert refused.headers["ratelimit"].startswith('"user";r=0;t=')
    assert answers[0].headers["ratelimit"].startswith('"user";r=')
    assert cast.call("GET", ME, token=other).status_code == 200


def test_an_address_is_limited_before_anybody_asks_who_it_is(cast: Cast, redis_settings: dict[str, int]) -> None:
    limited(cast, api_rate_per_address=5, **redis_settings)
    answers = [cast.call("GET", ME, token="nonsense").status_code for _ in range(12)]
    assert (answers[0], answers[-1]) == (401, 429)
    answer = cast.post(LOGIN, json={"email": "a@example.org", "password": "x"})
    assert_problem(answer, 429, "rate-limited")
    assert cast.post(LOGIN, json={"email": "user@example.org", "password": PASSWORD}, address="192.0.2.8").status_code == 200


def test_a_network_of_ipv6_is_one_address(cast: Cast) -> None:
    """A host there has all the addresses of its 64 bits."""
    limited(cast, api_rate_per_address=5)
    asked = [cast.call("GET", ME, token="nonsense", address=f"2001:db8::{number:x}").status_code for number in range(1, 13)]
    assert (asked[0], asked[-1]) == (401, 429)
    assert cast.call("GET", ME, token="nonsense", address="2001:db8:0:1::1").status_code == 401


def test_the_portals_people_are_told_apart_and_proxies_are_not_limited(cast: Cast) -> None:
    limited(cast, api_rate_per_address=5)
    for number in range(12):
        headers = {"X-Forwarded-For": f"203.0.113.{number}"}
        assert cast.call("GET", ME, token="nonsense", peer="portal", headers=headers).status_code == 401
    assert {
        cast.get("/api/v1/messages/0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f?client=a", peer="proxy").status_code for _ in range(12)
    } == {404}


def test_health_checks_get_through(cast: Cast) -> None:
    limited(cast, api_rate_per_address=5)
    assert {cast.get("/health").status_code for _ in range(20)} == {200}


def test_a_forged_forwarded_address_does_not_help(cast: Cast) -> None:
    limited(cast, api_rate_per_address=5)
    answers = [
        cast.call("GET", ME, token="x", headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code for number in range(12)
    ]
    assert answers[-1] == 429
