"""The images that the container tests run: the product's own, and the servers' official ones or stand-ins built from Debian."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil
import pytest
from support.machine import CANNOT_HAVE, FOLDER_VARIABLE, require_tool, tool

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "tests" / "containers" / "images"
BASE = "debian:bookworm-slim"
STAND_INS = {"REDIS_IMAGE": "redis", "MYSQL_IMAGE": "mysql", "MARIADB_IMAGE": "mariadb", "PROMETHEUS_IMAGE": "prometheus"}
"""Variable of the Compose files -> recipe."""
OFFICIAL = {
    "REDIS_IMAGE": "redis:7.4",
    "MYSQL_IMAGE": "mysql:8.4",
    "MARIADB_IMAGE": "mariadb:10.11",
    "PROMETHEUS_IMAGE": "prom/prometheus:v3.5.0",
}
"""The same variable -> what the Compose files take by default."""


def docker(*words: str, seconds: float = 60.0, check: bool = True, text: str = "") -> str:
    """What a docker command printed.

    Raises:
        AssertionError: it failed; the message is what it said.
    """
    answer = subprocess.run(
        ["docker", *words], capture_output=True, encoding="utf-8", errors="replace", input=text, timeout=seconds
    )
    assert not check or answer.returncode == 0, f"docker {' '.join(words)} ended with {answer.returncode}:\n{said(answer)}"
    return answer.stdout


def said(answer: subprocess.CompletedProcess[str]) -> str:
    """The end of both outputs."""
    return f"{answer.stdout[-3000:]}\n{answer.stderr[-3000:]}"


@cache
def require_engine() -> None:
    """A running engine; it is started where this machine has the program for it, else the test is skipped."""
    if _answers():
        return
    subprocess.run(
        [str(require_tool("container-engine"))], check=True, capture_output=True, timeout=300, stdin=subprocess.DEVNULL
    )
    assert _answers(), "the container engine was started and does not answer"


def _answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, timeout=30).returncode == 0


@dataclass(frozen=True)
class Images:
    """Names for the Compose files' variables."""

    program: str
    variables: dict[str, str] = field(default_factory=dict)


@contextmanager
def built(name: str) -> Iterator[Images]:
    """The product's image under a tag of this run's own; stand-ins stay, as they are the same for everybody."""
    require_engine()
    remove_remains()
    program = f"messagebroker-test/program:{name}"
    build(ROOT / "docker" / "Dockerfile", ROOT, program, secrets=ca_bundle())
    try:
        yield Images(program, {"MESSAGEBROKER_IMAGE": program, **servers("REDIS_IMAGE", "MYSQL_IMAGE")})
    finally:
        docker("image", "rm", "--force", program, check=False)


def remove_remains() -> None:
    """Of runs that were killed: projects and images whose number is no process any more."""
    for line in docker("ps", "--all", "--format", '{{.ID}} {{.Label "com.docker.compose.project"}}').splitlines():
        container, _, project = line.partition(" ")
        if project.startswith("mbtest-") and _is_remains(project):
            docker("rm", "--force", "--volumes", container, check=False)
    for kind in ("volume", "network"):
        for name in docker(kind, "ls", "--filter", "name=^mbtest-", "--format", "{{.Name}}").split():
            if _is_remains(name.partition("_")[0]):
                docker(kind, "rm", name, check=False)
    for tag in docker("image", "ls", "messagebroker-test/program", "--format", "{{.Tag}}").split():
        if _is_remains(f"-{tag.partition('-')[0]}"):
            docker("image", "rm", "--force", f"messagebroker-test/program:{tag}", check=False)


def _is_remains(name: str) -> bool:
    number = name.rpartition("-")[2]
    return number.isdigit() and not psutil.pid_exists(int(number))


def servers(*variables: str) -> dict[str, str]:
    """Images of servers. Where an engine comes from a tool there is no registry, so that stand-ins are built."""
    if tool("container-engine") is None:
        return {variable: _pulled(OFFICIAL[variable]) for variable in variables}
    return {variable: stand_in(STAND_INS[variable]) for variable in variables}


@cache
def _pulled(image: str) -> str:
    """An official image; without it, and without the means to build a stand-in, the test is skipped."""
    if not docker("image", "ls", "--quiet", image) and not docker("pull", "--quiet", image, seconds=600, check=False):
        pytest.skip(f"{CANNOT_HAVE}{image}: no registry, and no container-engine in {FOLDER_VARIABLE}")
    return image


@cache
def stand_in(name: str) -> str:
    """Debian's program behind the interface of the official image."""
    tag = f"messagebroker-test/{name}:stand-in"
    recipe = RECIPES / f"{name}.Dockerfile"
    if name != "mysql":
        build(recipe, RECIPES, tag)
        return tag
    with tempfile.TemporaryDirectory(prefix="mb-image-") as folder:
        context = Path(folder)
        shutil.copytree(_mysql_tree(), context / "tree")
        shutil.copy(RECIPES / "database.sh", context)
        build(recipe, context, tag)
    return tag


def build(recipe: Path, context: Path, tag: str, secrets: Sequence[str] = ()) -> None:
    """One image; the base is looked at first, because a missing one makes the engine ask a registry."""
    if tool("container-engine") is not None:
        docker("image", "inspect", BASE)
    docker("buildx", "build", "--load", "--file", str(recipe), "--tag", tag, *secrets, str(context), seconds=600)


def ca_bundle() -> list[str]:
    """This machine's own certificate authorities for pip in the build, where it has any; they stay out of the image."""
    for variable in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        if (path := os.environ.get(variable)) and Path(path).is_file():
            return ["--secret", f"id=ca_bundle,src={path}"]
    return []


def _mysql_tree() -> Path:
    answer = subprocess.run(
        [str(require_tool("mysql-server")), "setup"], capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL
    )
    assert answer.returncode == 0, said(answer)
    return Path(answer.stderr.rpartition("ready: ")[2].strip()).parent / "tree"


def inspected(image_or_container: str) -> dict[str, object]:
    """What `docker inspect` says of one thing."""
    found: list[dict[str, object]] = json.loads(docker("inspect", image_or_container))
    return found[0]
