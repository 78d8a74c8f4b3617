"""A Compose project of the tests' own: the product's files, images that this machine can have, free ports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from support.images import ROOT, Images, docker, said
from support.installation import ClientFiles
from support.servers import free_port

DOCKER = ROOT / "docker"
HOME = "/var/lib/messagebroker"
ROLES = ("main", "proxy", "worker", "scheduler", "portal")
LASTING = (*ROLES, "mysql", "redis")
"""The services that run until they are stopped."""
UP_SECONDS = 180.0


class Project:
    """`with Project("name", images) as project:` nothing runs before `up`; everything is removed in the end.

    One project is awake at a time: two cores that answer the health checks of thirty containers do little else.

    Args:
        files: Compose files beside compose.yaml, by name in docker/ or by path.
        proxies: how many ports to keep free for proxies.
    """

    _all: ClassVar[list[Project]] = []

    def __init__(self, name: str, images: Images, folder: Path, *files: str | Path, proxies: int = 1, **variables: str) -> None:
        self.name = f"mbtest-{name}-{os.getpid()}"
        self.folder = folder
        self.files = [DOCKER / file for file in ("compose.yaml", *files)]
        self.proxy_ports = _free_ports_in_a_row(proxies)
        self.ports = {"main": free_port(), "portal": free_port()}
        self.variables = {
            **images.variables,
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_FILE": os.pathsep.join(map(str, self.files)),
            "COMPOSE_ENV_FILES": os.devnull,
            "COMPOSE_ANSI": "never",
            "COMPOSE_PROGRESS": "plain",
            "PROXY_PORTS": f"{self.proxy_ports[0]}-{self.proxy_ports[-1]}" if proxies > 1 else str(self.proxy_ports[0]),
            "MAIN_PORT": str(self.ports["main"]),
            "PORTAL_PORT": str(self.ports["portal"]),
            **variables,
        }
        self.seconds_to_come_up = 0.0
        self._asleep = False
        self._clients: dict[str, ClientFiles] = {}
        self._up_words: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self._all.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._all.remove(self)
        if kind is not None:
            self.keep_logs()
        self.compose("down", "--volumes", "--timeout", "2", "--remove-orphans", seconds=120)

    # commands

    def try_compose(self, *words: str, seconds: float = 60.0, given: str = "") -> subprocess.CompletedProcess[str]:
        """`docker compose …`, whatever comes of it; `given` is its standard input."""
        return subprocess.run(
            ["docker", "compose", *words],
            cwd=DOCKER,
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            input=given,
            timeout=seconds,
        )

    def compose(self, *words: str, seconds: float = 60.0, given: str = "") -> str:
        """What `docker compose …` printed; it must succeed."""
        answer = self.try_compose(*words, seconds=seconds, given=given)
        assert answer.returncode == 0, f"docker compose {' '.join(words)} ended with {answer.returncode}:\n{said(answer)}"
        return answer.stdout

    @property
    def environment(self) -> dict[str, str]:
        """For whoever runs docker compose on this project."""
        return {**os.environ, **self.variables}

    def up(self, *words: str) -> Self:
        """`docker compose up --wait WORDS`, without any as it was last; nothing is built, nothing pulled that is there."""
        self._up_words = words = words or self._up_words
        self.wake()
        began = time.monotonic()
        answer = self.try_compose("up", "--detach", "--wait", "--no-build", *words, seconds=UP_SECONDS)
        self.seconds_to_come_up = time.monotonic() - began
        if answer.returncode != 0:
            self.keep_logs()
            logs = self.try_compose("logs", "--tail=15", "--no-color").stdout
            raise AssertionError(f"the project did not come up:\n{said(answer)}\n{logs}")
        return self

    def wake(self) -> None:
        """Goes on where it was put to sleep, and puts all others to sleep."""
        self.all_to_sleep(but=self)
        if self._asleep:
            self.compose("unpause")
            self._asleep = False
            self.wait_until_healthy()

    @classmethod
    def all_to_sleep(cls, *, but: Project | None = None) -> None:
        """Every process of the others stops where it is."""
        for project in cls._all:
            if project is not but and not project._asleep and project.containers("redis"):
                project.compose("pause")
                project._asleep = True

    def run(self, service: str, *words: str, seconds: float = 60.0) -> str:
        """A command inside a service's first container; it must succeed."""
        return docker("exec", self.container(service), *words, seconds=seconds)

    def services(self, *words: str, seconds: float = 240.0) -> subprocess.CompletedProcess[str]:
        """`messagebroker services …` as an operator calls it beside the Compose file, whatever comes of it."""
        return subprocess.run(
            [sys.executable, "-m", "messagebroker", "services", *words],
            cwd=DOCKER,
            env={name: value for name, value in self.environment.items() if name != "DATA_DIR"},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
        )

    def done(self, *words: str) -> str:
        """What `services` printed; it must succeed."""
        answer = self.services(*words)
        assert answer.returncode == 0, f"{words}: {answer.stdout}{answer.stderr}"
        return answer.stdout

    def sql(self, statement: str) -> list[list[str]]:
        """Rows of the database, asked by root inside its container."""
        client = (
            'MYSQL_PWD="$(cat /run/secrets/mysql/root-password)" "$0" --protocol=socket -uroot -N -B message_system -e "$1"'
        )
        program = "mariadb" if any("mariadb" in path.name for path in self.files) else "mysql"
        answer = self.run("mysql", "sh", "-c", client, program, statement)
        return [line.split("\t") for line in answer.splitlines()]

    # containers

    def container(self, service: str, number: int = 1) -> str:
        """The name of one of a service's containers."""
        return f"{self.name}-{service}-{number}"

    def containers(self, service: str) -> list[str]:
        """The names of all of them that are there, running or not."""
        words = ("ps", "--all", "--filter", f"label=com.docker.compose.project={self.name}")
        found = docker(*words, "--filter", f"label=com.docker.compose.service={service}", "--format", "{{.Names}}")
        return sorted(found.split())

    def state(self, container: str) -> dict[str, Any]:
        """Its `State`, and how often it was started again."""
        found = json.loads(docker("inspect", container))[0]
        return {**found["State"], "RestartCount": found["RestartCount"]}

    def health(self, service: str, number: int = 1) -> tuple[str, str]:
        """Docker's word for a container, and what its last health check said."""
        state = self.state(self.container(service, number))
        log = state["Health"]["Log"] or [{"Output": ""}]
        return state["Health"]["Status"], log[-1]["Output"]

    def says(self, service: str, *words: str, number: int = 1) -> bool:
        """Whether the engine finds it unhealthy and the check's own words name the cause: one of `words`."""
        status, said = self.health(service, number)
        return status == "unhealthy" and any(word in said.lower() for word in words)

    def wait_until_healthy(self, *services: str, seconds: float = 90.0) -> None:
        """Every container of these services, by default of all roles and servers."""
        for service in services or LASTING:
            for container in self.containers(service):
                until(lambda name=container: self._is_healthy(name), seconds, lambda name=container: self.last_words(name))

    def _is_healthy(self, container: str) -> bool:
        state = self.state(container)
        return bool(state["Running"]) and state["Health"]["Status"] == "healthy"

    def unwell(self) -> list[str]:
        """The containers of roles and servers that should be healthy and are not."""
        found = [container for service in LASTING for container in self.containers(service)]
        return [container for container in found if not self._is_healthy(container)]

    def last_words(self, container: str) -> str:
        """A container's state and the end of its log."""
        return f"{container}: {json.dumps(self.state(container))[-800:]}\n{docker('logs', '--tail=20', container, check=False)}"

    def network(self, name: str) -> str:
        """The engine's name of one of the project's networks."""
        return f"{self.name}_{name}"

    @contextmanager
    def disconnected(self, service: str, network: str, number: int = 1) -> Iterator[None]:
        """One container without one of its networks."""
        container = self.container(service, number)
        docker("network", "disconnect", self.network(network), container)
        try:
            yield
        finally:
            docker("network", "connect", "--alias", service, self.network(network), container)

    # from outside

    def url(self, role: str, number: int = 1) -> str:
        """Where this machine reaches a role's container."""
        port = (
            self.ports[role]
            if role != "proxy"
            else int(docker("port", self.container(role, number), "8001").rpartition(":")[2])
        )
        return f"https://localhost:{port}"

    def client(self, name: str) -> ClientFiles:
        """A sender's certificate, issued when it is first asked for, with its files on this machine."""
        if name not in self._clients:
            self._clients[name] = self._issued(name)
        return self._clients[name]

    def _issued(self, name: str) -> ClientFiles:
        self.run("main", "messagebroker", "certs", "issue", name)
        folder = self.folder / name
        folder.mkdir()
        for file in (f"{name}.crt", f"{name}.key", "ca.crt"):
            (folder / file).write_text(self.run("main", "cat", f"{HOME}/main_server/certs/{file}"), encoding="utf-8")
        return ClientFiles(name, folder / f"{name}.crt", folder / f"{name}.key", folder / "ca.crt")

    def keep_logs(self) -> None:
        """What its containers said so far, in build/tests/."""
        logs = self.try_compose("logs", "--no-color", "--timestamps")
        target = ROOT / "build" / "tests" / f"{self.name}.log"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(logs.stdout, encoding="utf-8")


def until(condition: Callable[[], object], seconds: float, why: Callable[[], object] = lambda: "") -> None:
    """Waits for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds:.0f} s: {why()}"
        time.sleep(0.4)


def as_json(text: str) -> Mapping[str, Any]:
    """A command's `--json`."""
    found: Mapping[str, Any] = json.loads(text)
    return found


def _free_ports_in_a_row(count: int) -> Sequence[int]:
    for _ in range(50):
        first = free_port()
        if first + count < 65536 and all(_is_free(first + more) for more in range(count)):
            return range(first, first + count)
    raise RuntimeError(f"no {count} free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
