"""`messagebroker services` on containers: the same verbs, rolling restarts and upgrades that go back by themselves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.containers import ROLES, Project, until
from support.images import Images, docker
from support.kept import Kept
from support.load import Load

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def kept(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A project with two proxies for these tests alone: it is upgraded.

    Its image has a name of its own too, which moves from image to image.
    """

    @contextmanager
    def made() -> Iterator[Project]:
        name = f"{images.program}-services"
        docker("tag", images.program, name)
        own = Images(name, {**images.variables, "MESSAGEBROKER_IMAGE": name})
        try:
            with Project("services", own, tmp_path_factory.mktemp("services"), proxies=2) as project:
                yield project.up("--scale", "proxy=2")
        finally:
            forget_images(name)

    with Kept(made) as kept:
        yield kept


@pytest.fixture
def project(kept: Kept, request: pytest.FixtureRequest) -> Iterator[Project]:
    with kept.lent(request) as found:
        yield found


def forget_images(name: str) -> None:
    """With all that upgrades called by names beside it."""
    for tag in (
        name,
        *(f"{name.rpartition(':')[0]}:{word}" for word in ("previous", "in-use", "next", "other", "broken", "newer")),
    ):
        docker("image", "rm", "--force", tag, check=False)


def states(project: Project) -> dict[str, dict[str, object]]:
    """By container, without the project's name."""
    said = json.loads(project.services("status", "--json").stdout)
    assert said["home"] == "Docker Compose"
    return {str(state["unit"]).removeprefix(f"{project.name}-"): state for state in said["services"]}


def image_of(project: Project, container: str) -> str:
    return docker("inspect", "--format", "{{.Image}}", project.container(*container.rsplit("-", 1))).strip()


def test_status_shows_every_container(project: Project) -> None:
    found = states(project)
    assert set(found) == {*(f"{role}-1" for role in ROLES), "proxy-2"}
    for name, state in found.items():
        shown = (state["state"], state["start_type"], state["restarts"], state["detail"])
        assert shown == ("running", "automatic", 0, "ready"), name
        assert state["since"]
    assert project.services("status").returncode == 0


def test_stop_and_start_keep_order_and_instances(project: Project) -> None:
    refused = project.services("stop", "main")
    assert refused.returncode == 1
    assert "proxy and portal need main and still run" in refused.stderr
    assert project.done("stop", "main", "--with-dependencies").splitlines() == [
        "portal stopped",
        "proxy stopped",
        "main stopped",
    ]
    found = states(project)
    assert {name for name, state in found.items() if state["state"] == "stopped"} == {
        "main-1",
        "proxy-1",
        "proxy-2",
        "portal-1",
    }
    assert project.services("status", "main").returncode == 1
    refused = project.services("start", "proxy")
    assert "proxy needs main, which does not run" in refused.stderr
    assert project.done("start").splitlines() == [
        f"{name} started, ready" for name in ("main", "proxy", "scheduler", "worker", "portal")
    ]
    assert all(state["detail"] == "ready" for state in states(project).values())


def test_a_fallen_role_is_shown_with_its_restarts(project: Project) -> None:
    pid = project.state(project.container("scheduler"))["Pid"]
    subprocess.run(["kill", "-KILL", str(pid)], check=True)
    until(lambda: states(project)["scheduler-1"]["restarts"] == 1, 30)
    until(lambda: states(project)["scheduler-1"]["detail"] == "ready", 60)


def other_image(project: Project, word: str, *commands: str) -> str:
    """A release that differs from the one in use: by a label, or by what `commands` do to it."""
    tag = f"{project.variables['MESSAGEBROKER_IMAGE'].rpartition(':')[0]}:{word}"
    recipe = "\n".join([f"FROM {project.variables['MESSAGEBROKER_IMAGE']}", f"LABEL release={word}", *commands])
    docker("buildx", "build", "--load", "--tag", tag, "-", text=recipe, seconds=120)
    return tag


def test_an_upgrade_under_load_fails_no_submit_and_goes_back_on_request(project: Project) -> None:
    before = image_of(project, "proxy-1")
    sender = project.client("upgrading")
    with Load(project, sender, project.url("proxy", 1), project.url("proxy", 2), senders=1) as load:
        said = project.done("upgrade", other_image(project, "other"))
    assert "a message went all the way" in said
    assert load.failed == []
    load.require_stored()
    after = {image_of(project, name) for name in states(project)}
    assert len(after) == 1
    assert after != {before}
    project.done("rollback")
    assert {image_of(project, name) for name in states(project)} == {before}


def test_a_release_that_cannot_take_messages_is_gone_back_from(project: Project) -> None:
    before = image_of(project, "proxy-1")
    place = "/opt/messagebroker/lib/python3*/site-packages/messagebroker/http/proxy/submit.py"
    broken = other_image(
        project,
        "broken",
        "USER 0",
        f"RUN sed -i 's/^        environ = request.env$/        raise RuntimeError(\"broken\")/' {place}"
        f" && grep -q broken {place} && python3 -m compileall -q -f --invalidation-mode unchecked-hash {place}",
        "USER 10001:10001",
    )
    refused = project.services("upgrade", broken)
    assert refused.returncode == 1, refused.stdout
    assert "the smoke test failed" in refused.stderr
    assert "runs again, nothing is lost" in refused.stderr
    assert {image_of(project, name) for name in states(project)} == {before}
    assert json.loads(project.run("main", "messagebroker", "smoke", "--json"))["ok"]


def test_a_release_with_a_migration_comes_and_goes(project: Project) -> None:
    """Under load forward; back with the backup that the upgrade made."""
    before = image_of(project, "proxy-1")
    place = "/opt/messagebroker/lib/python3.11/site-packages/messagebroker/db/migrations/900_colour.py"
    migration = (
        "def migrate(migrator, database, fake=False, **words):",
        '    migrator.sql("ALTER TABLE messages ADD COLUMN colour VARCHAR(10) NULL")',
    )
    wrote = " ".join(f"'{line}'" for line in migration)
    newer = other_image(project, "newer", "USER 0", f"RUN printf '%s\\n' {wrote} > {place}", "USER 10001:10001")
    sender = project.client("migrating")
    with Load(project, sender, project.url("proxy", 1), project.url("proxy", 2), senders=1) as load:
        said = project.done("upgrade", newer)
    assert load.failed == []
    load.require_stored()
    assert project.sql("SHOW COLUMNS FROM messages LIKE 'colour'")
    refused = project.services("rollback")
    assert "does not know 900_colour" in refused.stderr, refused.stdout
    backup = said.split("backed up to ")[1].splitlines()[0]
    project.done("rollback", "--yes", "--restore", backup)
    assert not project.sql("SHOW COLUMNS FROM messages LIKE 'colour'")
    assert {image_of(project, name) for name in states(project)} == {before}
    assert json.loads(project.run("main", "messagebroker", "smoke", "--json"))["ok"]
