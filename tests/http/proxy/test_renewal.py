"""POST /api/v1/certificates/renew on the proxy: the client of the connection, and what it is told of main's answers."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from support.proxy import Proxy, problem
from support.requests import signing_request

PATH = "/api/v1/certificates/renew"
ORDER = {"csr": signing_request().decode()}


@pytest.fixture
def main(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Set ["answer"]; ["asked"] has the requests."""
    told: dict[str, Any] = {"asked": [], "answer": httpx.Response(201, json={"serial": "ab"})}

    def handle(request: httpx.Request) -> httpx.Response:
        told["asked"].append(request)
        answer: httpx.Response = told["answer"]
        return answer

    client = httpx.Client(transport=httpx.MockTransport(handle))
    monkeypatch.setattr(proxy.parts.lookup, "_main", lambda: nullcontext(client))
    return told


def test_main_is_told_who_is_connected_and_with_which_certificate(proxy: Proxy, main: dict[str, Any]) -> None:
    answer = proxy.post(PATH, ORDER)
    assert (answer.status_code, answer.json) == (201, {"serial": "ab"})
    assert answer.headers["cache-control"] == "no-store"
    [asked] = main["asked"]
    assert asked.url.path == PATH
    assert json.loads(asked.content) == {"client": "acme", "serial": "ab12", **ORDER}


@pytest.mark.parametrize("more", [{"client": "other"}, {"serial": "ff"}, {"name": "other"}, {"days": 9999}, {"csr": 7}])
def test_a_client_names_nobody_and_asks_for_nothing_else(proxy: Proxy, main: dict[str, Any], more: dict[str, Any]) -> None:
    assert problem(proxy.post(PATH, {**ORDER, **more})) == (422, "invalid-field", next(iter(more)))
    assert problem(proxy.post(PATH, {})) == (422, "invalid-field", "csr")
    assert problem(proxy.post(PATH, {"csr": "x" * 17_000})) == (422, "invalid-field", "csr")
    assert main["asked"] == []


@pytest.mark.parametrize("reason", ["revoked", "disabled", "expired", "unknown-client"])
def test_who_may_not_send_does_not_reach_main(proxy: Proxy, main: dict[str, Any], reason: str) -> None:
    proxy.watcher.refused["acme"] = reason
    assert proxy.post(PATH, ORDER).status_code == 403
    assert main["asked"] == []


@pytest.mark.parametrize(("status", "name"), [(422, "invalid-field"), (403, "renewal-refused"), (429, "too-many-certificates")])
def test_what_the_client_can_mend_is_passed_on(proxy: Proxy, main: dict[str, Any], status: int, name: str) -> None:
    document = {"type": f"urn:messagebroker:problem:{name}", "title": "t", "status": status, "detail": "why", "field": "csr"}
    main["answer"] = httpx.Response(status, json=document, headers={"Retry-After": "9"})
    answer = proxy.post(PATH, ORDER)
    assert problem(answer) == (status, name, "csr")
    assert answer.headers["retry-after"] == "9"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, text="db01.internal"),
        httpx.Response(401, json={"type": "urn:messagebroker:problem:token-required", "detail": "db01.internal"}),
        httpx.Response(403, json={"type": "urn:messagebroker:problem:certificate-revoked", "detail": "db01.internal"}),
        httpx.Response(403, json=["renewal-refused"]),
    ],
)
def test_trouble_between_proxy_and_main_is_not_the_clients(proxy: Proxy, main: dict[str, Any], answer: httpx.Response) -> None:
    main["answer"] = answer
    found = proxy.post(PATH, ORDER)
    assert problem(found) == (503, "main-unavailable", None)
    assert "internal" not in found.text


def test_main_down_is_a_503(proxy: Proxy) -> None:
    answer = proxy.post(PATH, ORDER)
    assert problem(answer) == (503, "main-unavailable", None)
    assert answer.headers["retry-after"] == "2"
