"""GET /api/v1/messages/{id} and `Prefer: wait`: the proxy asks main, here a small one that answers what the test wants."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.proxy import Proxy, problem

from messagebroker.http.proxy import lookup

pytestmark = pytest.mark.clocked

Answering = Callable[[httpx.Request], httpx.Response]
ID = "01900000-0000-7000-8000-000000000001"


@pytest.fixture
def main(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Set ["answer"]; ["asked"] has the requests."""
    told: dict[str, Any] = {"asked": [], "answer": lambda request: httpx.Response(200, json={})}

    def handle(request: httpx.Request) -> httpx.Response:
        told["asked"].append(request)
        answer: httpx.Response = told["answer"](request)
        return answer

    client = httpx.Client(transport=httpx.MockTransport(handle))
    monkeypatch.setattr(proxy.parts.lookup, "_main", lambda: nullcontext(client))
    return told


def problem_document(status: int, name: str, **headers: str) -> httpx.Response:
    document = {"type": f"urn:messagebroker:problem:{name}", "title": "t", "status": status, "detail": "why"}
    return httpx.Response(status, json=document, headers=headers)


def test_the_client_is_named_and_mains_answer_passed_on(proxy: Proxy, main: dict[str, Any]) -> None:
    main["answer"] = lambda request: httpx.Response(200, json={"message_id": ID, "body": "x"})
    answer = proxy.get(f"/api/v1/messages/{ID}")
    assert answer.json == {"message_id": ID, "body": "x"}
    assert answer.headers["cache-control"] == "no-store"
    [asked] = main["asked"]
    assert asked.url.path == f"/api/v1/messages/{ID}"
    assert asked.url.params["client"] == "acme"


def test_a_message_that_is_not_stored_yet(proxy: Proxy, main: dict[str, Any]) -> None:
    main["answer"] = lambda request: problem_document(404, "not-stored-yet", **{"Retry-After": "1"})
    answer = proxy.get(f"/api/v1/messages/{ID}")
    assert problem(answer) == (404, "not-stored-yet", None)
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("message_id", ["x", "..%2Fauth", ID + "0", "not-a-uuid-but-as-long-as-one-is-0000"])
def test_what_is_no_id_is_not_asked_for(proxy: Proxy, main: dict[str, Any], message_id: str) -> None:
    assert proxy.get(f"/api/v1/messages/{message_id}").status_code == 404
    assert main["asked"] == []


@pytest.mark.parametrize("status", [401, 403, 500, 502])
def test_trouble_between_proxy_and_main_is_not_the_clients(proxy: Proxy, main: dict[str, Any], status: int) -> None:
    main["answer"] = lambda request: httpx.Response(status, text="secret: db01.internal")
    answer = proxy.get(f"/api/v1/messages/{ID}")
    assert problem(answer) == (503, "main-unavailable", None)
    assert "internal" not in answer.text


def test_a_message_that_cannot_be_opened_is_no_reason_to_ask_again(proxy: Proxy, main: dict[str, Any]) -> None:
    main["answer"] = lambda request: problem_document(500, "damaged")
    answer = proxy.get(f"/api/v1/messages/{ID}")
    assert problem(answer) == (500, "damaged", None)
    assert "retry-after" not in answer.headers


def test_main_down_is_a_503(proxy: Proxy) -> None:
    answer = proxy.get(f"/api/v1/messages/{ID}")  # there is not even a certificate
    assert problem(answer) == (503, "main-unavailable", None)
    assert answer.headers["retry-after"] == "2"


def test_prefer_wait_answers_201_once_stored(proxy: Proxy, main: dict[str, Any]) -> None:
    main["answer"] = lambda request: (
        problem_document(404, "not-stored-yet") if len(main["asked"]) < 3 else httpx.Response(200, json={"status": "delivered"})
    )
    answer = proxy.submit({"body": "x"}, Prefer="wait=5")
    assert (answer.status_code, answer.json["status"]) == (201, "delivered")
    assert answer.headers["preference-applied"] == "wait"
    assert {request.url.params["body"] for request in main["asked"]} == {"false"}
    assert answer.json["message_id"] in str(main["asked"][0].url)


def test_prefer_wait_answers_202_when_the_time_is_up_or_main_is_down(proxy: Proxy, main: dict[str, Any]) -> None:
    main["answer"] = lambda request: problem_document(404, "not-stored-yet")
    began = time.monotonic()
    answer = proxy.submit({"body": "x"}, Prefer='respond-async, wait="1"')
    assert answer.status_code == 202
    assert 0.5 < time.monotonic() - began < 1.5
    main["answer"] = lambda request: httpx.Response(200, text="not what main says")
    assert proxy.submit({"body": "x"}, Prefer="wait=9").status_code == 202
    main["answer"] = lambda request: httpx.Response(500)
    proxy.parts.lookup._main = broken  # type: ignore[method-assign]
    assert proxy.submit({"body": "x"}, Prefer="wait=9").status_code == 202


def broken() -> httpx.Client:
    raise httpx.ConnectError("down")


def test_after_a_renewal_the_old_connections_end_with_their_last_request(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[httpx.Client] = []
    release, arrived = threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if "slow" in request.url.path:
            arrived.set()
            release.wait(20)
        return httpx.Response(200)

    def make(*files: Path) -> httpx.Client:
        made.append(httpx.Client(transport=httpx.MockTransport(answer)))
        return made[-1]

    files = [tmp_path / "certificate", tmp_path / "key"]
    found = proxy.parts.lookup
    monkeypatch.setattr(lookup, "_connecting", make)
    monkeypatch.setattr(found, "_files", files)
    for renewal in range(2):
        for file in files:
            file.write_text(f"{renewal}")
            os.utime(file, (renewal, renewal))
        found.ask(ID, "acme")
        found.ask(ID, "acme")
        if renewal == 0:
            slow = threading.Thread(target=found.ask, args=("slow", "acme"))
            slow.start()
            assert arrived.wait(10)
    assert [client.is_closed for client in made] == [False, False], "it has a request in hand"
    release.set()
    slow.join(20)
    assert [client.is_closed for client in made] == [True, False]
    found.close()
    assert made[1].is_closed


@pytest.mark.parametrize("prefer", ["wait", "wait=0", "wait=-1", "return=minimal", "wait=x"])
def test_other_preferences_are_passed_over(proxy: Proxy, main: dict[str, Any], prefer: str) -> None:
    answer = proxy.submit({"body": "x"}, Prefer=prefer)
    assert answer.status_code == 202
    assert json.loads(answer.text)["status"] == "queued"
    assert main["asked"] == []


def test_a_main_that_hangs_holds_up_no_submit(proxy: Proxy, main: dict[str, Any]) -> None:
    """When every waiting place is taken, reading is refused and submitting goes on."""
    release = threading.Event()
    main["answer"] = lambda request: release.wait(20) and problem_document(404, "not-stored-yet")
    most = proxy.parts.patience._pool._max_workers * 3
    threads = [threading.Thread(target=proxy.get, args=(f"/api/v1/messages/{ID}",)) for _ in range(most)]
    for thread in threads:
        thread.start()
    while proxy.parts.patience._room._value:
        time.sleep(0.01)
    try:
        assert problem(proxy.get(f"/api/v1/messages/{ID}")) == (503, "overloaded", None)
        assert proxy.submit({"body": "x"}).status_code == 202
        assert proxy.submit({"body": "x"}, Prefer="wait=9").status_code == 202
    finally:
        release.set()
    for thread in threads:
        thread.join(20)
    assert proxy.parts.patience._room._value == most
