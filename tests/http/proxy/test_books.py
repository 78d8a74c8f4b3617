"""A client's own list and numbers: the proxy asks main, naming the client whose certificate was shown, whatever is claimed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import httpx
import pytest
from support.proxy import Proxy, problem

LIST, COUNTS = "/api/v1/messages", "/api/v1/messages/counts"


@pytest.fixture
def main(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Set ["answer"]; ["asked"] has the requests."""
    told: dict[str, Any] = {"asked": [], "answer": httpx.Response(200, json={"items": [], "next": None})}

    def handle(request: httpx.Request) -> httpx.Response:
        told["asked"].append(request)
        answer: httpx.Response = told["answer"]
        return answer

    client = httpx.Client(transport=httpx.MockTransport(handle))
    monkeypatch.setattr(proxy.parts.lookup, "_main", lambda: nullcontext(client))
    return told


@pytest.mark.parametrize("path", [LIST, COUNTS])
def test_main_is_asked_for_the_client_of_the_certificate(proxy: Proxy, main: dict[str, Any], path: str) -> None:
    answer = proxy.get(f"{path}?since=2026-03-01T00:00:00%2B01:00&until=2026-03-02T00:00:00Z")
    assert (answer.status_code, answer.json) == (200, {"items": [], "next": None})
    assert answer.headers["cache-control"] == "no-store"
    [asked] = main["asked"]
    assert asked.url.path == path
    assert dict(asked.url.params) == {"client": "acme", "since": "2026-03-01T00:00:00+01:00", "until": "2026-03-02T00:00:00Z"}


def test_a_page_of_the_list(proxy: Proxy, main: dict[str, Any]) -> None:
    proxy.get(f"{LIST}?status=failed&order=asc&limit=7&cursor=AAAA", client="orders")
    expected = {"client": "orders", "status": "failed", "order": "asc", "limit": "7", "cursor": "AAAA"}
    assert dict(main["asked"][0].url.params) == expected


@pytest.mark.parametrize(
    "query",
    [
        "client=other",
        "client=acme",
        "topic=orders",
        "sender=x",
        "since=x",
        "limit=0",
        "limit=1&limit=2",
        "cursor=!",
        "order=up",
    ],
)
def test_anything_else_is_refused_here(proxy: Proxy, main: dict[str, Any], query: str) -> None:
    for path in (LIST, COUNTS):
        assert problem(proxy.get(f"{path}?{query}"))[:2] == (400, "invalid-parameter")
    assert main["asked"] == []


def test_what_main_finds_wrong_with_it_is_passed_on(proxy: Proxy, main: dict[str, Any]) -> None:
    document = {"type": "urn:messagebroker:problem:invalid-parameter", "status": 400, "detail": "why", "field": "cursor"}
    main["answer"] = httpx.Response(400, json=document)
    assert problem(proxy.get(f"{LIST}?cursor=AAAA")) == (400, "invalid-parameter", "cursor")


@pytest.mark.parametrize("answer", [httpx.Response(400, text="x"), httpx.Response(403), httpx.Response(500, text="db01")])
def test_other_trouble_of_mains_is_not_the_clients(proxy: Proxy, main: dict[str, Any], answer: httpx.Response) -> None:
    main["answer"] = answer
    for path in (LIST, COUNTS):
        found = proxy.get(path)
        assert problem(found) == (503, "main-unavailable", None)
        assert "db01" not in found.text


def test_main_down_is_a_503(proxy: Proxy) -> None:
    assert problem(proxy.get(LIST)) == (503, "main-unavailable", None)
    assert proxy.submit({"body": "x"}).status_code == 202


def test_the_path_still_takes_messages_in(proxy: Proxy, main: dict[str, Any]) -> None:
    assert proxy.submit({"body": "x"}).status_code == 202
    assert {"get", "post"} == proxy.get("/openapi.json").json["paths"][LIST].keys()
    assert main["asked"] == []
