from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from messagebroker.actors.status_page import StatusPage


@pytest.fixture
def broken() -> list[str]:
    return []


@pytest.fixture
def url(broken: list[str]) -> Iterator[str]:
    page = StatusPage(
        "127.0.0.1",
        0,
        alive={"threads": lambda: "ended" if "threads" in broken else None},
        ready={"database": lambda: "gone" if "database" in broken else None},
        metrics=lambda: b"messagebroker_x 1\n",
    )
    page.start()
    yield f"http://127.0.0.1:{page.port}"
    page.stop()


@pytest.mark.parametrize(
    ("what", "health", "ready"), [(None, 200, 200), ("database", 200, 503), ("threads", 503, 503)]
)  # fmt: skip
def test_health_is_the_process_and_readiness_what_it_needs(
    url: str, broken: list[str], what: str | None, health: int, ready: int
) -> None:
    broken += [what] if what else []
    assert httpx.get(f"{url}/health").status_code == httpx.get(f"{url}/api/v1/health").status_code == health
    answer = httpx.get(f"{url}/health/ready?x=1")
    assert (answer.status_code, answer.json()["status"]) == (ready, "ok" if ready == 200 else "failed")
    assert answer.json()["checks"]["database"] == ("gone" if what == "database" else "ok")


def test_metrics_and_nothing_else(url: str) -> None:
    assert httpx.get(f"{url}/metrics").text == "messagebroker_x 1\n"
    assert httpx.get(f"{url}/").status_code == 404
    assert httpx.post(f"{url}/health").status_code == 501
