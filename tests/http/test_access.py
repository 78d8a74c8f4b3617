from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import falcon
import pytest
from falcon import testing
from support.cast import FakeWatcher, assert_problem, peer

from messagebroker.http.access import Access, Watcher
from messagebroker.http.application import make_app
from messagebroker.http.health import PATHS
from messagebroker.settings import Settings


class Echo:
    """Says who came."""

    operations = ()

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        response.media = {"peer": request.context.peer.name if request.context.peer else None}


def client(settings: Settings, watcher: Watcher | None, **options: Any) -> testing.TestClient:
    access = Access(watcher=watcher, open_paths=PATHS, components=frozenset({"portal"}), **options)
    app = make_app("proxy", settings=settings, middleware=[access], resources=[])
    app.add_route("/x", Echo())
    return testing.TestClient(app)


def get(http: testing.TestClient, who: Any, path: str = "/x", **more: Any) -> testing.Result:
    extras = {"messagebroker.peer": who, "REMOTE_ADDR": "192.0.2.7", **more.pop("extras", {})}
    return http.simulate_get(path, extras=extras, **more)


def test_a_certificate_is_who_comes(settings: Settings) -> None:
    http = client(settings, FakeWatcher())
    assert get(http, peer("client", "acme")).json == {"peer": "acme"}
    assert get(http, peer("component", "portal")).json == {"peer": "portal"}


@pytest.mark.parametrize("path", ["/x", "/nothing", "/", "/health/", "/Health", "/openapi.json"])
def test_without_one_nothing_but_health_answers(settings: Settings, path: str) -> None:
    http = client(settings, FakeWatcher())
    assert_problem(get(http, None, path), 401, "certificate-required")
    assert get(http, None, "/api/v1/health").status_code == 200


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("revoked", "certificate-revoked"),
        ("expired", "certificate-expired"),
        ("unknown-client", "client-unknown"),
        ("disabled", "client-disabled"),
        ("something new", "certificate-refused"),
    ],
)
def test_what_the_policy_refuses_is_refused_and_the_connection_closed(settings: Settings, reason: str, name: str) -> None:
    watcher = FakeWatcher()
    watcher.refusal = lambda _: reason  # type: ignore[method-assign]
    closed: list[bool] = []
    answer = get(client(settings, watcher), peer("client", "acme"), extras={"messagebroker.close": lambda: closed.append(True)})
    assert_problem(answer, 403, name)
    assert closed == [True]


def test_a_certificate_without_an_identity_is_refused(settings: Settings) -> None:
    problem = {"messagebroker.peer_problem": "the certificate has 2 urn:messagebroker: URIs"}
    answer = get(client(settings, FakeWatcher()), None, extras=problem)
    assert "2 urn:messagebroker:" in assert_problem(answer, 403, "certificate-invalid")["detail"]


def test_a_stale_policy_is_a_503_and_health_goes_on(settings: Settings) -> None:
    http = client(settings, FakeWatcher(fresh=False))
    answer = get(http, peer("client", "acme"))
    assert_problem(answer, 503, "policy-stale")
    assert answer.headers["retry-after"] == "1"
    assert get(http, peer("client", "acme"), "/health").status_code == 200


def test_a_role_may_judge_by_itself_while_the_policy_is_stale(settings: Settings) -> None:
    http = client(settings, FakeWatcher(fresh=False), while_stale=lambda p: "revoked" if p.name == "bad" else None)
    assert get(http, peer("client", "acme")).status_code == 200
    assert_problem(get(http, peer("client", "bad")), 403, "certificate-revoked")


def test_without_a_watcher_the_end_of_the_certificate_counts(settings: Settings) -> None:
    http = client(settings, None)
    assert get(http, peer("client", "acme")).status_code == 200
    assert_problem(get(http, peer("client", "acme", days=-0.001)), 403, "certificate-expired")


@pytest.mark.parametrize("name", ["proxy", "main", "worker", "monitoring"])
def test_components_that_are_not_named_have_no_business_here(settings: Settings, name: str) -> None:
    assert_problem(get(client(settings, FakeWatcher()), peer("component", name)), 403, "component-not-allowed")


@pytest.mark.parametrize(("claimed", "status"), [("acme", 200), ("other", 403), ("ACME", 403), ("", 403), ("acme,acme", 403)])
def test_a_claimed_client_id_must_be_the_certificates(settings: Settings, claimed: str, status: int) -> None:
    answer = get(client(settings, FakeWatcher()), peer("client", "acme"), headers={"X-Client-Id": claimed})
    if status == 200:
        assert answer.status_code == 200
    else:
        assert_problem(answer, 403, "client-mismatch")


def test_metrics_are_for_loopback_and_monitoring(settings: Settings) -> None:
    http = client(settings, FakeWatcher())
    for address, who, status in (
        ("127.0.0.1", None, 200),
        ("127.9.9.9", None, 200),
        ("::1", None, 200),
        ("192.0.2.7", None, 401),
        ("192.0.2.7", peer("component", "monitoring"), 200),
        ("192.0.2.7", peer("component", "worker"), 403),
        ("", None, 401),
        ("localhost", None, 401),
    ):
        for path in ("/metrics", "/api/v1/metrics"):
            answer = get(http, who, path, extras={"REMOTE_ADDR": address}, headers={"X-Forwarded-For": "127.0.0.1"})
            assert answer.status_code == status, (address, who)


def test_a_client_reads_no_metrics(settings: Settings) -> None:
    answer = get(client(settings, FakeWatcher()), peer("client", "acme"), "/metrics")
    assert_problem(answer, 403, "metrics-for-monitoring")


def test_a_revoked_monitor_reads_no_metrics(settings: Settings) -> None:
    watcher = FakeWatcher(revoked={"component-monitoring"})
    answer = get(client(settings, watcher), peer("component", "monitoring"), "/metrics")
    assert_problem(answer, 403, "certificate-revoked")


def test_a_certificate_that_ends_between_two_requests(settings: Settings) -> None:
    now = datetime.now(UTC)
    ends_now = peer("client", "acme", days=0.00001)
    assert ends_now.not_after < now + timedelta(seconds=2)
    http = client(settings, FakeWatcher())
    assert get(http, ends_now).status_code == 200
    while datetime.now(UTC) < ends_now.not_after:
        pass
    assert_problem(get(http, ends_now), 403, "certificate-expired")
