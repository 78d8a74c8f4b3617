"""Who is let in to the proxy."""

from __future__ import annotations

import pytest
from support.proxy import Proxy, peer, problem

PATHS = [("POST", "/api/v1/messages"), ("POST", "/api/v1/messages/batch"), ("GET", "/api/v1/whoami"), ("GET", "/openapi.json"),
         ("GET", "/api/v1/messages/x"), ("GET", "/no/such/path")]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_without_a_certificate_there_is_nothing_but_health(proxy: Proxy, method: str, path: str) -> None:
    answer = proxy.http.simulate_request(method, path, body=b'{"body":"x"}', headers={"Content-Type": "application/json"})
    assert problem(answer) == (401, "certificate-required", None)


@pytest.mark.parametrize("path", ["/health", "/api/v1/health", "/health/ready", "/api/v1/health/ready"])
def test_health_is_open(proxy: Proxy, path: str) -> None:
    assert proxy.http.simulate_get(path).status_code == 200


def test_a_component_cannot_submit(proxy: Proxy) -> None:
    for name in ("main", "portal", "monitoring"):
        answer = proxy.http.simulate_post(
            "/api/v1/messages",
            body=b'{"body":"x"}',
            headers={"Content-Type": "application/json"},
            extras={"messagebroker.peer": peer(name, kind="component")},
        )
        assert problem(answer)[:2] == (403, "component-not-allowed")


def test_a_revoked_client_is_refused_and_the_connection_closes(proxy: Proxy) -> None:
    proxy.watcher.refused["acme"] = "revoked"
    closed: list[bool] = []
    answer = proxy.http.simulate_post(
        "/api/v1/messages",
        body=b'{"body":"x"}',
        headers={"Content-Type": "application/json"},
        extras={"messagebroker.peer": peer(), "messagebroker.close": lambda: closed.append(True)},
    )
    assert problem(answer) == (403, "certificate-revoked", None)
    assert closed == [True]


def test_a_client_that_the_policy_does_not_know(proxy: Proxy) -> None:
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


def test_the_document_names_every_path(proxy: Proxy) -> None:
    paths = proxy.get("/openapi.json").json["paths"]
    assert {"/api/v1/messages", "/api/v1/messages/batch", "/api/v1/messages/{message_id}", "/api/v1/whoami"} <= paths.keys()
    request = paths["/api/v1/messages"]["post"]["requestBody"]["content"]
    assert request.keys() == {"application/json", "application/cloudevents+json", "application/cloudevents-batch+json"}
