"""What main answers is limited for each client, and every limit of a client is one for all proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from support.proxy import Proxy, problem
from support.requests import signing_request

from messagebroker.settings import load

API = "/api/v1"
MESSAGE = "0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f"
RATE = 20
POLICY = f'"requests";q={RATE};w=1'
ORDER = {"csr": signing_request().decode()}
Ask = Callable[..., Any]

REQUESTS: dict[str, tuple[int, Ask]] = {
    "list": (1, lambda proxy, **who: proxy.get(f"{API}/messages", **who)),
    "one": (1, lambda proxy, **who: proxy.get(f"{API}/messages/{MESSAGE}", **who)),
    "counts": (10, lambda proxy, **who: proxy.get(f"{API}/messages/counts", **who)),
    "renewal": (1, lambda proxy, **who: proxy.post(f"{API}/certificates/renew", ORDER, **who)),
}


@pytest.fixture
def proxies(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Proxy]]:
    """Two on one Redis, before a main that answers anything."""
    main = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(201 if request.content else 200, json={})))
    made = []
    for name in ("one", "two"):
        given = {"redis_url": redis_url, "redis_read_timeout": 10, "proxy_threads": 4, "api_rate_per_client": RATE}
        proxy = Proxy(load({}, data_dir=tmp_path / name, environment="test", **given))
        monkeypatch.setattr(proxy.parts.lookup, "_main", lambda: nullcontext(main))
        made.append(proxy)
    yield made
    for proxy in made:
        proxy.parts.patience.close()
        proxy.parts.committer.close()
        proxy.redis.close()


@pytest.mark.parametrize("kind", REQUESTS)
def test_requests_are_charged_whichever_proxy_is_asked(proxies: list[Proxy], kind: str) -> None:
    cost, ask = REQUESTS[kind]
    first = ask(proxies[0])
    assert first.status_code in (200, 201)
    assert first.headers["ratelimit-policy"] == POLICY
    assert first.headers["ratelimit"] == f'"requests";r={RATE - cost};t=1'
    answers = [ask(proxies[number % 2]) for number in range(4 * RATE // cost)]
    refused = [number for number, answer in enumerate(answers) if answer.status_code == 429]
    assert {number % 2 for number in refused} == {0, 1}, "both proxies refuse"
    assert len(refused) >= RATE // cost, "a second's worth goes through, and what the time of the test brings"
    answer = answers[refused[0]]
    assert problem(answer) == (429, "rate-limited", None)
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["ratelimit-policy"] == POLICY
    assert answer.headers["ratelimit"].startswith('"requests";r=0;t=')


def test_other_clients_and_messages_are_not_held_up(proxies: list[Proxy]) -> None:
    one, two = proxies
    _, ask = REQUESTS["counts"]
    while ask(one).status_code != 429:
        continue
    assert ask(two).status_code == 429, "half a second's worth is owed, wherever it was asked"
    assert ask(two, client="orders").status_code == 200
    assert two.submit({"body": "x"}).status_code == 202
    assert two.get(f"{API}/whoami").status_code == 200


def test_a_clients_rate_of_messages_is_one_for_all_proxies(proxies: list[Proxy]) -> None:
    one, two = proxies
    assert one.batch([{"body": "x"}] * 30, client="slow").status_code == 202  # three seconds' worth
    for proxy in (two, one):
        answer = proxy.submit({"body": "x"}, client="slow")
        assert problem(answer) == (429, "rate-limited", None)
        assert answer.headers["retry-after"] in ("1", "2")
    assert REQUESTS["list"][1](two, client="slow").status_code == 200


def test_a_problem_tells_what_is_left_too(proxies: list[Proxy], monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"type": "urn:messagebroker:problem:not-stored-yet", "detail": "soon"}
    main = httpx.Client(
        transport=httpx.MockTransport(lambda request: httpx.Response(404, json=document, headers={"Retry-After": "1"}))
    )
    monkeypatch.setattr(proxies[0].parts.lookup, "_main", lambda: nullcontext(main))
    answer = REQUESTS["one"][1](proxies[0])
    assert problem(answer) == (404, "not-stored-yet", None)
    assert (answer.headers["retry-after"], answer.headers["ratelimit-policy"]) == ("1", POLICY)


def test_without_redis_each_proxy_goes_on_counting_by_itself(proxies: list[Proxy], monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*command: Any, **options: Any) -> None:
        raise redis.ConnectionError

    one, two = proxies
    for proxy in proxies:
        monkeypatch.setattr(proxy.redis.connection_pool, "get_connection", away)
    _, ask = REQUESTS["counts"]
    statuses = [ask(one).status_code for _ in range(6)]
    assert (statuses[0], statuses[-1]) == (200, 429)
    assert ask(two).status_code == 200
