from __future__ import annotations

from collections.abc import Callable

from falcon import testing
from support.cast import assert_problem

from messagebroker import __version__
from messagebroker.http import health
from messagebroker.http.application import make_app
from messagebroker.settings import Settings


def client(settings: Settings, *checks: health.Check, warnings: Callable[[], list[str]] | None = None) -> testing.TestClient:
    return testing.TestClient(
        make_app("proxy", settings=settings, middleware=[], resources=[], checks=checks, warnings=warnings)
    )


def test_alive_says_role_version_and_warnings(settings: Settings) -> None:
    http = client(settings, ("redis", lambda: "down"), warnings=lambda: ["Redis keeps nothing on disk"])
    for path in ("/health", "/api/v1/health"):
        answer = http.simulate_get(path)
        assert answer.status_code == 200, "liveness does not depend on other servers"
        assert answer.json == {
            "status": "ok", "role": "proxy", "version": __version__, "warnings": ["Redis keeps nothing on disk"],
        }  # fmt: skip


def test_ready_when_every_check_is(settings: Settings) -> None:
    http = client(settings, ("redis", lambda: None), ("policy", lambda: None))
    for path in ("/health/ready", "/api/v1/health/ready"):
        answer = http.simulate_get(path)
        assert (answer.status_code, answer.json) == (200, {"status": "ready", "checks": {"redis": "ok", "policy": "ok"}})


def test_not_ready_names_what_failed(settings: Settings) -> None:
    answer = client(settings, ("redis", lambda: "does not answer"), ("policy", lambda: None)).simulate_get("/health/ready")
    document = assert_problem(answer, 503, "not-ready")
    assert document["detail"] == "not ready: redis"
    assert document["checks"] == {"redis": "does not answer", "policy": "ok"}
    assert answer.headers["retry-after"] == "1"


def test_strangers_cannot_make_the_checks_run_all_day(settings: Settings) -> None:
    asked: list[int] = []
    http = client(settings, ("redis", lambda: asked.append(1)))
    for _ in range(50):
        http.simulate_get("/health/ready")
    assert len(asked) <= 2


def test_load_balancers_may_ask_with_head(settings: Settings) -> None:
    http = client(settings, ("redis", lambda: "does not answer"))
    assert http.simulate_head("/health").status_code == 200
    assert http.simulate_head("/health/ready").status_code == 503
