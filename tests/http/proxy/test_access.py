"""What a caller of the proxy may claim, and what is counted; who is let in where is in test_every_endpoint.py."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from support.counters import added
from support.proxy import Proxy, problem
from support.requests import signing_request


def test_what_the_watcher_let_pass_is_looked_at_once_more_before_a_submit(proxy: Proxy) -> None:
    assert problem(proxy.submit({"body": "x"}, client="nobody")) == (403, "client-unknown", None)


def test_a_claimed_id_in_a_header(proxy: Proxy) -> None:
    assert proxy.submit({"body": "x"}, X_Client_Id="acme").status_code == 202
    assert problem(proxy.submit({"body": "x"}, X_Client_Id="other")) == (403, "client-mismatch", "X-Client-Id")
    assert len(proxy.queued()) == 1


def test_metrics_count_what_was_taken_and_refused(proxy: Proxy) -> None:
    def value(name: str) -> float:
        text = proxy.http.simulate_get("/metrics", extras={"REMOTE_ADDR": "127.0.0.1"}).text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    accepted = 'messagebroker_messages_accepted_total{format="native",priority="normal"}'
    refused = 'messagebroker_messages_refused_total{reason="invalid-field"}'
    before = value(accepted), value(refused)
    proxy.batch([{"body": "x"}, {"body": ""}, {"body": "y"}])
    proxy.submit({"body": ""})
    assert (value(accepted), value(refused)) == (before[0] + 2, before[1] + 2)


def test_the_document_names_every_format(proxy: Proxy) -> None:
    request = proxy.get("/openapi.json").json["paths"]["/api/v1/messages"]["post"]["requestBody"]["content"]
    assert request.keys() == {"application/json", "application/cloudevents+json", "application/cloudevents-batch+json"}


def test_a_certificate_that_was_refused_in_the_handshake(proxy: Proxy) -> None:
    """Wherever TLS let it pass all the same, it is no better than none, and says why."""
    closed: list[bool] = []
    extras = {"messagebroker.peer_problem": "its CN is another", "messagebroker.close": lambda: closed.append(True)}
    assert problem(proxy.http.simulate_get("/api/v1/whoami", extras=extras)) == (403, "certificate-invalid", None)
    assert closed == [True]


def stale(proxy: Proxy) -> Any:
    proxy.watcher.fresh = False
    return proxy.get("/api/v1/whoami")


def revoked(proxy: Proxy) -> Any:
    proxy.watcher.refused["acme"] = "revoked"
    return proxy.submit({"body": "x"})


def over_its_rate(proxy: Proxy) -> Any:
    proxy.batch([{"body": "x"}] * 50, client="slow")
    return proxy.submit({"body": "x"}, client="slow")


def renewal_that_main_refuses(proxy: Proxy) -> Any:
    document = {"type": "urn:messagebroker:problem:renewal-refused", "detail": "revoked"}
    main = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(403, json=document)))
    proxy.parts.lookup._main = lambda: nullcontext(main)  # type: ignore[method-assign,assignment,return-value]
    return proxy.post("/api/v1/certificates/renew", {"csr": signing_request().decode()})


@pytest.mark.parametrize(
    ("reason", "ask"),
    [
        ("certificate-required", lambda proxy: proxy.http.simulate_get("/api/v1/whoami")),
        ("certificate-revoked", revoked),
        ("client-unknown", lambda proxy: proxy.submit({"body": "x"}, client="nobody")),
        ("client-mismatch", lambda proxy: proxy.submit({"body": "x"}, X_Client_Id="other")),
        ("topic-not-allowed", lambda proxy: proxy.submit({"topic": "forbidden", "body": "x"}, client="orders")),
        ("policy-stale", stale),
        ("rate-limited", over_its_rate),
        ("renewal-refused", renewal_that_main_refuses),
    ],
)
def test_a_refusal_counts_once_under_its_reason(proxy: Proxy, reason: str, ask: Callable[[Proxy], Any]) -> None:
    with added("messagebroker_auth_refused_total") as more:
        assert problem(ask(proxy))[1] == reason
    assert more == {reason: 1}
