from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from wsgiref.validate import WSGIWarning

import falcon
import peewee as pw
import pytest
from falcon import testing
from prometheus_client import generate_latest
from structlog.testing import capture_logs
from support.cast import assert_problem

from messagebroker.errors import BrokerError, Conflict, NotFound, Refused, Unavailable
from messagebroker.http.application import make_app
from messagebroker.http.openapi import Deprecated, Operation
from messagebroker.http.replies import measured
from messagebroker.http.tracing import traceparent
from messagebroker.ops.metrics import REGISTRY
from messagebroker.settings import Settings, load

RAISES: dict[str, BaseException] = {}


class Raises:
    operations = (Operation("GET", "/raises/{what}", "Raises"),)

    def on_get(self, request: falcon.Request, response: falcon.Response, what: str) -> None:
        if what in RAISES:
            raise RAISES[what]
        response.text = traceparent(request)


@pytest.fixture
def http(settings: Settings) -> testing.TestClient:
    RAISES.clear()
    return testing.TestClient(make_app("main", settings=settings, middleware=[], resources=[Raises()]))


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (NotFound("no such thing"), 404, "not-found"),
        (Conflict("somebody was faster"), 409, "conflict"),
        (Refused("not in this state"), 403, "refused"),
    ],
)
def test_what_ops_raise_for_callers_is_told(http: testing.TestClient, error: Exception, status: int, name: str) -> None:
    RAISES["it"] = error
    assert assert_problem(http.simulate_get("/raises/it"), status, name)["detail"] == str(error)


def test_an_outage_is_logged_and_its_servers_are_not_told(http: testing.TestClient) -> None:
    RAISES["it"] = Unavailable("cannot connect to db7.internal")
    with capture_logs() as logs:
        answer = http.simulate_get("/raises/it")
    assert_problem(answer, 503, "unavailable")
    assert "db7" not in answer.text
    assert "db7" in logs[0]["error"]


@pytest.mark.parametrize("error", [ValueError("password=hunter2"), BrokerError("no key"), pw.ProgrammingError("SELECT 1")])
def test_a_mistake_of_ours_is_logged_under_the_id_that_the_caller_gets(http: testing.TestClient, error: Exception) -> None:
    RAISES["it"] = error
    with capture_logs() as logs:
        answer = http.simulate_get("/raises/it")
    document = assert_problem(answer, 500, "internal-error")
    assert str(error) not in answer.text
    assert logs[0]["trace"] == document["id"]
    assert logs[0]["exc_info"] is error


def test_the_callers_trace_is_kept_when_it_is_one(http: testing.TestClient) -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert http.simulate_get("/raises/no", headers={"traceparent": good}).text == good
    for bad in ("", "00-0-0-00", good.upper(), good + "x", "00-" + "0" * 32 + good[35:], good + "\n"):
        made = http.simulate_get("/raises/no", headers={"traceparent": bad}).text
        assert made != bad
        assert len(made) == 55


def test_every_falcon_error_is_a_problem(http: testing.TestClient) -> None:
    assert_problem(http.simulate_get("/nothing"), 404, "not-found")
    answer = http.simulate_put("/raises/x")
    assert_problem(answer, 405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]


def test_requests_are_counted_by_route_not_by_path(http: testing.TestClient) -> None:
    labels = {"method": "GET", "route": "/raises/{what}", "status": "200"}
    before = REGISTRY.get_sample_value("messagebroker_http_requests_total", labels) or 0
    for number in range(3):
        http.simulate_get(f"/raises/{number}")
    assert REGISTRY.get_sample_value("messagebroker_http_requests_total", labels) == before + 3
    http.simulate_get("/nothing")
    environ = {**testing.create_environ("/raises/1"), "REQUEST_METHOD": "MKCOL"}
    list(http.app(environ, testing.StartResponseMock()))
    text = generate_latest(REGISTRY).decode()
    assert 'route="none",status="404"' in text
    assert 'method="other"' in text
    assert "MKCOL" not in text, "strangers would make labels"
    assert 'http_request_seconds_count{route="/raises/{what}"}' in text


def test_metrics_can_be_turned_off(settings: Settings) -> None:
    off = load({}, data_dir=settings.data_dir, environment="test", metrics_enabled=False)
    http = testing.TestClient(make_app("main", settings=off, middleware=[], resources=[]))
    assert_problem(http.simulate_get("/metrics"), 404, "not-found")


def test_a_method_that_falcon_keeps_for_sockets_is_no_mistake_of_ours(http: testing.TestClient) -> None:
    with pytest.warns(WSGIWarning, match="WEBSOCKET"):
        answer = http.simulate_request("WEBSOCKET", "/raises/it")
    assert 400 <= answer.status_code < 500


GOING = Deprecated(since=datetime(2026, 3, 1, tzinfo=UTC), sunset=datetime(2027, 3, 1, tzinfo=UTC), link="/docs/new")


class Going:
    operations = (
        Operation("GET", "/going/{what}", "Goes", responses={200: None}, deprecated=GOING),
        Operation("POST", "/going/{what}", "Stays", responses={200: None}),
    )

    def on_get(self, request: falcon.Request, response: falcon.Response, what: str) -> None:
        if what == "refused":
            raise NotFound("no such thing")

    def on_post(self, request: falcon.Request, response: falcon.Response, what: str) -> None:
        pass


def test_an_operation_that_will_go_says_so_with_every_answer(settings: Settings) -> None:
    http = testing.TestClient(make_app("main", settings=settings, middleware=[], resources=[Going(), Raises()]))
    for what, status in (("there", 200), ("refused", 404)):
        answer = http.simulate_get(f"/going/{what}")
        assert answer.status_code == status
        assert answer.headers["deprecation"] == "@1772323200"
        assert answer.headers["sunset"] == "Mon, 01 Mar 2027 00:00:00 GMT"
        assert answer.headers["link"] == '</docs/new>; rel="deprecation"'
    for other in (http.simulate_post("/going/there"), http.simulate_get("/raises/nothing")):
        assert "deprecation" not in other.headers
    described = http.simulate_get("/openapi.json").json["paths"]["/going/{what}"]
    assert described["get"]["deprecated"] is True
    assert described["get"]["responses"]["200"]["headers"].keys() == {"Deprecation", "Sunset", "Link"}
    assert "deprecated" not in described["post"]


def test_answers_that_are_given_later_say_so_too() -> None:
    context = SimpleNamespace(started=0.0, farewell=list(GOING.headers.items()))
    request: Any = SimpleNamespace(uri_template="/going", method="GET", context=context)
    _, headers, _ = measured(("200 OK", [("Content-Type", "application/json")], b""), request)
    assert dict(headers)["Deprecation"] == "@1772323200"
