"""What the Compose home makes of Docker's answers; tests with real containers are in the tier of that name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.scripted_run import ScriptedRun

from messagebroker.errors import NotFound, Refused, Unavailable
from messagebroker.ops.services.compose import Compose
from messagebroker.ops.services.compose_releases import ComposeReleases
from messagebroker.ops.services.programs import Answer
from messagebroker.roles import NAMES


def container(
    service: str, number: int = 1, *, status: str = "running", health: str = "healthy", **state: Any
) -> dict[str, Any]:
    return {
        "Id": f"{service}{number}",
        "Name": f"/messagebroker-{service}-{number}",
        "RestartCount": 2,
        "Config": {"Labels": {"com.docker.compose.service": service, "com.docker.compose.container-number": str(number)}},
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
        "State": {
            "Status": status,
            "StartedAt": "2030-01-31T02:00:00.123456789Z",
            "FinishedAt": "2030-01-31T03:00:00.123456789Z",
            "ExitCode": 0,
            "Health": {"Status": health},
            **state,
        },
    }


def home(*containers: dict[str, Any], **answers: str | Answer) -> tuple[Compose, ScriptedRun]:
    run = ScriptedRun(
        {
            "docker compose ps": "\n".join(one["Id"] for one in containers),
            "docker inspect": json.dumps(containers),
            **{key.replace("_", " "): value for key, value in answers.items()},
        }
    )
    return Compose(Path("/srv/docker"), run), run


def test_states_are_words_of_every_home() -> None:
    compose, _ = home(
        container("main"),
        container("proxy", 2, status="exited", ExitCode=0),
        container("proxy", 1, health="starting"),
        container("worker", status="exited", ExitCode=137, OOMKilled=True),
        container("scheduler", status="restarting", ExitCode=3),
    )
    found = {state.unit.removeprefix("messagebroker-"): state for state in compose.states()}
    assert list(found) == ["main-1", "proxy-1", "proxy-2", "worker-1", "scheduler-1", "portal"]
    main = found["main-1"]
    assert (main.state, main.start_type, main.restarts, main.detail) == ("running", "automatic", 2, "ready")
    assert main.since == datetime(2030, 1, 31, 2, tzinfo=UTC)
    assert (found["proxy-1"].state, found["proxy-1"].detail) == ("running", ""), "so that it is asked itself"
    assert (found["proxy-2"].state, found["proxy-2"].since) == ("stopped", datetime(2030, 1, 31, 3, tzinfo=UTC))
    assert (found["worker-1"].state, found["worker-1"].detail) == ("failed", "was killed because it was out of memory")
    assert found["scheduler-1"].state == "failed"
    assert found["portal"].state == "missing"


def test_what_docker_does_not_call_healthy_is_asked_itself() -> None:
    compose, run = home(container("proxy", health="starting"), docker_exec=Answer(1, "NOT READY  redis: gone", ""))
    assert compose.readiness("proxy") == "messagebroker-proxy-1: NOT READY  redis: gone"
    assert run.called[-1] == "docker exec proxy1 messagebroker health proxy"
    run.answers["docker exec"] = ""
    assert compose.readiness("proxy") is None


def test_a_stopped_instance_is_not_ready() -> None:
    compose, _ = home(container("proxy", 1), container("proxy", 2, status="exited"))
    assert compose.readiness("proxy") == "messagebroker-proxy-2 is exited"


def test_starting_keeps_the_number_of_instances_of_what_is_started() -> None:
    compose, run = home(container("main", status="exited"), container("proxy", 1, status="exited"), container("proxy", 2))
    compose.start("proxy")
    assert run.called[-1] == "docker compose up --detach --no-recreate --no-build --scale proxy=2 proxy"
    compose.start("main")
    assert run.called[-1] == "docker compose up --detach --no-recreate --no-build main"


def test_what_runs_is_not_started_again() -> None:
    compose, run = home(container("main"))
    compose.start("main")
    assert not [line for line in run.called if "up" in line.split()]


def test_instances_restart_one_after_another_each_ready_before_the_next() -> None:
    compose, run = home(container("proxy", 1), container("proxy", 2))
    compose.restart("proxy", seconds=15)
    restarts = [line for line in run.called if line.startswith("docker restart")]
    assert restarts == ["docker restart --time=15 proxy1", "docker restart --time=15 proxy2"]
    first = run.called.index(restarts[0])
    assert run.called[first + 1] == "docker inspect proxy1"


def test_the_second_instance_is_left_alone_when_the_first_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messagebroker.ops.services.compose.READY_SECONDS", 0)
    compose, run = home(
        container("proxy", 1, health="unhealthy"), container("proxy", 2), docker_exec=Answer(1, "no policy", "")
    )
    with pytest.raises(Unavailable, match=r"proxy-1 is not ready after its restart .*no policy"):
        compose.restart("proxy", seconds=15)
    assert "docker restart --time=15 proxy2" not in run.called


def test_a_role_without_a_container_and_a_docker_that_does_not_answer() -> None:
    compose, run = home()
    with pytest.raises(NotFound, match="docker compose up --wait"):
        compose.stop("main", seconds=15)
    run.answers["docker compose ps"] = Answer(1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock")
    with pytest.raises(Unavailable, match="does not answer"):
        compose.states()
    with pytest.raises(Refused, match="no accounts"):
        compose.install(account="broker")


@pytest.mark.parametrize(
    ("image", "previous"),
    [
        ("messagebroker:latest", "messagebroker:previous"),
        ("messagebroker", "messagebroker:previous"),
        ("registry.example.org:5000/mb/messagebroker:1.2", "registry.example.org:5000/mb/messagebroker:previous"),
    ],
)
def test_the_release_before_is_kept_beside_the_images_name(image: str, previous: str) -> None:
    services = {name: {"image": image} for name in ("main", "proxy", "worker", "scheduler", "portal")}
    run = ScriptedRun({"docker compose config": json.dumps({"services": services})})
    ComposeReleases(Path("/srv/docker"), run).use("sha256:new", "sha256:old")
    assert run.called[-1] == f"docker tag sha256:old {previous}"


def test_an_image_that_is_pinned_by_its_digest_is_refused_before_anything_is_done() -> None:
    services = {name: {"image": "example.org/messagebroker@sha256:abc"} for name in NAMES}
    run = ScriptedRun(
        {
            "docker compose config": json.dumps({"services": services}),
            "docker compose ps": "0123",
            "docker inspect": "sha256:old",
        }
    )
    with pytest.raises(Refused, match="write a tag into MESSAGEBROKER_IMAGE instead"):
        ComposeReleases(Path("/srv/docker"), run).prepare(None)
    assert not [called for called in run.called if called.startswith(("docker tag", "docker pull"))]
