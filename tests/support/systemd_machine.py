"""A machine of its own with systemd as its first process, MariaDB and Redis, in a container; our image's program is in it."""

from __future__ import annotations

import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support import images
from support.images import docker

APP_IMAGE = "messagebroker-test/app-for-systemd"
IMAGE = "messagebroker-test/systemd"
ROOT = "/var/lib/messagebroker"
PASSWORD = "a-passphrase-of-this-test"
CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH")
"""What systemd needs to make namespaces for its units; fewer than --privileged, which not every machine may give."""

NO_ROLE = ("env", "--unset", "DATA_DIR")
"""The image sets it for roles; on a machine it is not set."""

PREPARE = f"""set -e
until mariadb -e 'SELECT 1' >/dev/null 2>&1; do sleep 0.2; done
mariadb -e "CREATE DATABASE message_system CHARACTER SET utf8mb4;
  CREATE USER systemuser@localhost IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON message_system.* TO systemuser@localhost;"
for setting in 'appendonly yes' 'appendfsync always' 'maxmemory 200mb' 'maxmemory-policy noeviction'; do
  redis-cli config set $setting
done
redis-cli config rewrite
mkdir -p {ROOT}
cat > {ROOT}/.env <<EOF
DATABASE_URL=mysql+pymysql://systemuser:{PASSWORD}@localhost:3306/message_system
REDIS_URL=redis://localhost:6379/0
EOF
messagebroker setup
"""


def attempt(*words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """A docker command, whatever comes of it."""
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)


def build_images() -> None:
    """The application's image from this tree, and the machine around it; layers that are there are used again."""
    images.require_engine()
    images.build(images.ROOT / "docker" / "Dockerfile", images.ROOT, APP_IMAGE, secrets=images.ca_bundle())
    recipe = images.RECIPES / "systemd.Dockerfile"
    docker("buildx", "build", "--load", "--file", str(recipe), "--build-arg", f"APP_IMAGE={APP_IMAGE}", "--tag", IMAGE,
           str(images.RECIPES), seconds=300)  # fmt: skip


class Machine:
    """One such machine, gone at the end."""

    def __init__(self) -> None:
        self.name = f"messagebroker-systemd-{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> Self:
        build_images()
        docker(
            "run", "--detach", "--tty", "--name", self.name, "--hostname", "broker",
            "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
            *(word for name in CAPABILITIES for word in ("--cap-add", name)),
            "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec",
            "--cgroupns=host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw",
            IMAGE,
        )  # fmt: skip
        try:
            self.wait_until_up()
            self.shell(PREPARE, seconds=120)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        attempt("rm", "--force", "--volumes", self.name)

    def wait_until_up(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while (said := self.run("systemctl", "is-system-running", check=False).stdout.strip()) not in ("running", "degraded"):
            assert time.monotonic() < deadline, f"systemd says {said!r}\n{docker('logs', '--tail=50', self.name, check=False)}"
            time.sleep(0.3)

    def restart(self) -> None:
        """As a reboot."""
        docker("restart", self.name, seconds=120)
        self.wait_until_up()

    def run(
        self, *words: str, seconds: float = 60, check: bool = True, folder: str = "/root"
    ) -> subprocess.CompletedProcess[str]:
        """A command of root."""
        answer = attempt("exec", "--workdir", folder, self.name, *NO_ROLE, *words, seconds=seconds)
        assert not check or answer.returncode == 0, f"{' '.join(words)} ended with {answer.returncode}:\n{images.said(answer)}"
        return answer

    def shell(self, script: str, *, seconds: float = 60, check: bool = True) -> str:
        return self.run("bash", "-c", script, seconds=seconds, check=check).stdout

    def broker(self, *words: str, seconds: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`messagebroker …` as an operator calls it in the installation's folder."""
        return self.run("messagebroker", *words, seconds=seconds, check=check, folder=ROOT)

    def properties(self, unit: str, names: Sequence[str]) -> dict[str, str]:
        text = self.run("systemctl", "show", unit, f"--property={','.join(names)}").stdout
        return dict(line.split("=", 1) for line in text.splitlines())

    def copy(self, source: Path, target: str) -> None:
        """A file or folder of this machine."""
        docker("cp", "--quiet", str(source), f"{self.name}:{target}")

    def write(self, target: str, text: str) -> None:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            self.copy(Path(file.name), target)

    def give_package_index(self) -> None:
        """This machine's own certificate authorities, where pip needs any."""
        for word in images.ca_bundle():
            if word.startswith("id="):
                self.copy(Path(word.partition("src=")[2]), "/root/ca.crt")
                self.write("/etc/pip.conf", "[global]\ncert = /root/ca.crt\n")

    def wait_until_stored(self, message_ids: Sequence[str], seconds: float = 60) -> None:
        """Each of them is a row, exactly one.

        Raises:
            AssertionError: some are missing after `seconds`.
        """
        wanted = {message_id.replace("-", "") for message_id in message_ids}
        deadline = time.monotonic() + seconds
        while missing := wanted - set(self.shell("mariadb -N message_system -e 'SELECT LOWER(HEX(id)) FROM messages'").split()):
            assert time.monotonic() < deadline, f"{len(missing)} of {len(wanted)} are lost: {sorted(missing)[:3]}"
            time.sleep(0.5)
