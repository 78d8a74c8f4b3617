"""Every endpoint of the proxy × everybody who may come: what each is answered, and no endpoint is missing."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import httpx
import pytest
from support.endpoints import documented, heads_of, routed
from support.proxy import ACME, Proxy, peer
from support.requests import signing_request

from messagebroker.http.health import PATHS as HEALTH
from messagebroker.ops.identity import COMPONENTS, Peer
from messagebroker.ops.policy_watcher import PolicyWatcher

API = "/api/v1"
MESSAGE = "0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f"
TABLE: dict[tuple[str, str], int] = {
    ("POST", f"{API}/messages"): 202,
    ("GET", f"{API}/messages"): 200,
    ("POST", f"{API}/messages/batch"): 202,
    ("GET", f"{API}/messages/counts"): 200,
    ("GET", f"{API}/messages/{{message_id}}"): 200,
    ("POST", f"{API}/certificates/renew"): 201,
    ("GET", f"{API}/whoami"): 200,
    ("GET", "/openapi.json"): 200,
    ("GET", "/docs"): 200,
    **{("GET", path): 200 for path in HEALTH},
    **{("HEAD", path): 200 for path in HEALTH},
    ("GET", "/metrics"): 200,
    ("GET", f"{API}/metrics"): 200,
}
"""What somebody who is let in is answered."""

METRICS = ("/metrics", f"{API}/metrics")
BODIES: dict[str, Any] = {
    f"{API}/messages": {"body": "x"},
    f"{API}/messages/batch": {"messages": [{"body": "x"}]},
    f"{API}/certificates/renew": {"csr": signing_request().decode()},
}
PEERS: dict[str, Peer | None] = {
    "nobody": None,
    "owner": peer("acme"),
    "other": peer("orders"),
    "revoked": replace(peer("acme"), serial="dead"),
    "expired": peer("acme", days=-1),
    "disabled": peer("disabled"),
    "unknown": peer("stranger"),
    **{f"component:{name}": peer(name, kind="component") for name in sorted(COMPONENTS)},
}
REFUSED = {
    "nobody": (401, "certificate-required"),
    "revoked": (403, "certificate-revoked"),
    "expired": (403, "certificate-expired"),
    "disabled": (403, "client-disabled"),
    "unknown": (403, "client-unknown"),
}
"""Who gets nowhere but to health; the connections of all of them but nobody's end."""


@pytest.fixture
def door(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """A proxy whose policy is judged as the real watcher does; behind it a main that has one message of acme's."""
    policy = proxy.watcher.current
    assert policy is not None
    clients = {**policy.clients, "disabled": replace(ACME, name="disabled", disabled=True)}
    proxy.watcher.current = replace(policy, revoked=frozenset({"dead"}), clients=clients)
    monkeypatch.setattr(proxy.watcher, "refusal", lambda who: PolicyWatcher.refusal(proxy.watcher, who))  # type: ignore[arg-type]
    main = httpx.Client(transport=httpx.MockTransport(_main))
    monkeypatch.setattr(proxy.parts.lookup, "_main", lambda: nullcontext(main))
    return proxy


def _main(request: httpx.Request) -> httpx.Response:
    if request.method == "POST":
        return httpx.Response(201, json={})
    if request.url.path.endswith(MESSAGE) and request.url.params["client"] != "acme":
        return httpx.Response(404, json={"type": "urn:messagebroker:problem:not-found", "detail": "no such message"})
    return httpx.Response(200, json={})


def test_no_endpoint_is_missing(proxy: Proxy) -> None:
    found = routed(proxy.app)
    assert found == set(TABLE)
    assert documented(proxy.get("/openapi.json").json) == found - heads_of(found)


@pytest.mark.parametrize("who", PEERS)
def test_everybody_at_every_endpoint(door: Proxy, who: str) -> None:
    wrong = []
    for (method, template), status in TABLE.items():
        closed: list[bool] = []
        found = _ask(door, method, template.replace("{message_id}", MESSAGE), PEERS[who], closed)
        expected = _expected(who, template, status)
        ends = template not in HEALTH and who in REFUSED and who != "nobody"
        if found != expected or closed != [True] * ends:
            wrong.append((method, template, found, expected, closed))
    assert wrong == []
    sent = 2 if who in ("owner", "other") else 0
    assert len(door.queued()) == sent


@pytest.mark.parametrize("who", PEERS)
def test_paths_that_are_not_there_tell_strangers_nothing(door: Proxy, who: str) -> None:
    """Who is not let in cannot learn from a 404 or a 405 which paths and methods there are."""
    for method, path, status, name in (
        ("GET", "/no/such/path", 404, "not-found"),
        ("DELETE", f"{API}/messages", 405, "method-not-allowed"),
    ):
        expected = (status, name) if who in ("owner", "other") else _expected(who, path, status)
        assert _ask(door, method, path, PEERS[who], []) == expected


@pytest.mark.parametrize("path", METRICS)
def test_metrics_are_open_to_this_machine(proxy: Proxy, path: str) -> None:
    for address, status in (("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 401)):
        assert proxy.http.simulate_get(path, extras={"REMOTE_ADDR": address}).status_code == status


def _expected(who: str, path: str, status: int) -> tuple[int, str | None]:
    """The status, and which problem it is."""
    if path in HEALTH:
        return 200, None
    if who in REFUSED:
        return REFUSED[who]
    if path in METRICS:
        return (200, None) if who == "component:monitoring" else (403, "metrics-for-monitoring")
    if who.startswith("component:"):
        return 403, "component-not-allowed"
    if "{message_id}" in path and who == "other":
        return 404, "not-found"
    return status, None


def _ask(proxy: Proxy, method: str, path: str, who: Peer | None, closed: list[bool]) -> tuple[int, str | None]:
    extras = {"messagebroker.peer": who, "messagebroker.close": lambda: closed.append(True), "REMOTE_ADDR": "192.0.2.7"}
    answer = proxy.http.simulate_request(
        method, path, json=BODIES.get(path) if method == "POST" else None, extras=extras
    )  # fmt: skip
    failed = answer.status_code >= 400
    return answer.status_code, answer.json["type"].rpartition(":")[2] if failed else None
