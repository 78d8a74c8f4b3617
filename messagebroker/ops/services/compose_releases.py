"""Releases as images: the one in use has the name of the Compose file, the one before it the tag `previous` beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from messagebroker.errors import NotFound, Refused
from messagebroker.ops.services.programs import Answer, Programs, Run
from messagebroker.roles import NAMES

BUILD_SECONDS = 3600.0
UP_SECONDS = 300.0
PREVIOUS, IN_USE, NEXT = "previous", "in-use", "next"
"""Tags; the last two only while an upgrade runs."""

IMAGE_VARIABLE = "MESSAGEBROKER_IMAGE"
"""What the Compose file calls the image."""


class ComposeReleases:
    """See `Releases`. A release is an image's id.

    Args:
        folder: what `docker compose` is run in.
        run: runs docker; for tests.
    """

    def __init__(self, folder: Path, run: Run | None = None) -> None:
        self._folder = folder
        self._run: Run = run or Programs(folder=folder)

    def in_use(self) -> str:
        """See `Releases`. What main's container runs, whatever the image's name names by now."""
        container = self._docker(["compose", "ps", "--all", "--quiet", "main"]).split()
        if not container:
            raise NotFound("main has no container in this project; `docker compose up --wait` makes it")
        return self._docker(["inspect", "--format", "{{.Image}}", container[0]]).strip()

    def previous(self) -> str | None:
        """See `Releases`."""
        answer = self._run(["docker", "image", "inspect", "--format", "{{.Id}}", self._tag(PREVIOUS)], check=False)
        return answer.out.strip() if answer.code == 0 else None

    def prepare(self, source: str | None) -> str:
        """See `Releases`. `source` is an image; without one the Compose file's is built, or pulled where there is no source."""
        old = self.in_use()
        if "@" in (name := self._name()):  # a tag cannot be moved there
            raise Refused(
                f"the Compose file names its image by a digest ({name}), which no other image can have: write a tag into"
                f" {IMAGE_VARIABLE} instead, or change the digest there and run `docker compose up --detach --wait`"
            )
        self._docker(["tag", old, self._tag(IN_USE)])  # an image without a name could be tidied away meanwhile
        if source is not None:
            found = self._run(["docker", "image", "inspect", "--format", "{{.Id}}", source], check=False)
            if found.code:
                self._docker(["pull", "--quiet", source], BUILD_SECONDS)
            return self._id(source)
        has_source = (self._folder.parent / "pyproject.toml").is_file() and "build" in self._service()
        self._docker(["compose", *(["build", "--quiet"] if has_source else ["pull", "--quiet"]), "main"], BUILD_SECONDS)
        new = self._id(self._name())
        self._docker(["tag", old, self._name()])  # until `use`, whatever is started here is of the old one
        if new != old:
            self._docker(["tag", new, self._tag(NEXT)])
        return new

    def ask(self, release: str, words: Sequence[str], *, seconds: float) -> Answer:
        """See `Releases`. In main's container when that runs this release, else in one of its own beside it."""
        if self._runs(release):
            return self._run(["docker", "compose", "exec", "-T", "main", "messagebroker", *words], seconds=seconds, check=False)
        return self._with_image(release)(
            ["docker", "compose", "run", "--rm", "--no-deps", "-T", "main", *words], seconds=seconds, check=False
        )

    def settle(self, release: str) -> None:
        """See `Releases`. The one-shot services do it."""
        answer = self._with_image(release)(
            ["docker", "compose", "run", "--rm", "--no-deps", "-T", "setup"], seconds=UP_SECONDS, check=False
        )
        if answer.code:
            raise Refused(f"`docker compose run setup` failed: {answer.words}")

    def use(self, release: str, previous: str | None) -> None:
        """See `Releases`."""
        self._docker(["tag", release, self._name()])
        if previous is not None:
            self._docker(["tag", previous, self._tag(PREVIOUS)])
        elif self.previous() is not None:
            self._docker(["image", "rm", self._tag(PREVIOUS)])

    def tidy(self) -> None:
        """See `Releases`. Only names are removed; `docker image prune` removes what has none."""
        for word in (IN_USE, NEXT):
            self._run(["docker", "image", "rm", self._tag(word)], check=False)

    def replace(self, role: str, *, seconds: float) -> None:
        """See `Releases`. As many instances as there were."""
        count = len(self._docker(["compose", "ps", "--all", "--quiet", role]).split())
        self._docker(
            [
                "compose",
                "up",
                "--detach",
                "--no-deps",
                "--no-build",
                f"--timeout={seconds:.0f}",
                "--scale",
                f"{role}={max(1, count)}",
                role,
            ],
            UP_SECONDS + seconds,
        )

    def _runs(self, release: str) -> bool:
        running = self._docker(["compose", "ps", "--quiet", "--status=running", "main"]).split()
        return bool(running) and self._docker(["inspect", "--format", "{{.Image}}", running[0]]).strip() == release

    def _with_image(self, release: str) -> Run:
        if not isinstance(self._run, Programs):
            return self._run
        return Programs(folder=self._folder, environment={**os.environ, IMAGE_VARIABLE: release})

    def _service(self) -> dict[str, Any]:
        services: dict[str, dict[str, Any]] = json.loads(self._docker(["compose", "config", "--format", "json"]))["services"]
        missing = [role for role in NAMES if role not in services]
        if missing:
            raise NotFound(f"the Compose file has no {', '.join(missing)}")
        return services["main"]

    def _name(self) -> str:
        return str(self._service()["image"])

    def _tag(self, word: str) -> str:
        """Beside the image's name: registry:5000/messagebroker:1.2 -> registry:5000/messagebroker:previous."""
        name = self._name()
        head, slash, last = name.rpartition("/")
        return f"{head}{slash}{last.partition(':')[0]}:{word}"

    def _id(self, image: str) -> str:
        return self._docker(["image", "inspect", "--format", "{{.Id}}", image]).strip()

    def _docker(self, words: list[str], seconds: float = 60.0) -> str:
        answer = self._run(["docker", *words], seconds=seconds, check=False)
        if answer.code:
            raise Refused(f"`docker {' '.join(words)}` in {self._folder} failed: {answer.words}")
        return answer.out
