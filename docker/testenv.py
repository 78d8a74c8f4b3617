"""A real broker in containers to test against: `python3 docker/testenv.py up | url | down`. Needs Docker and nothing else.

`up` prints where everything is and leaves a client's certificate in build/testenv; `url` says it again; `down` removes it all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "build" / "testenv"
HOME = "/var/lib/messagebroker"
CLIENT = "demo"
SERVERS = {"proxy": 8001, "main": 8000, "portal": 5000}
FILES = {"cert": f"{CLIENT}.crt", "key": f"{CLIENT}.key", "ca": "ca.crt"}
PROJECT = os.environ.get("TESTENV_PROJECT") or "messagebroker-testenv"
DEFAULTS = {
    "ENVIRONMENT": "test",
    "MAIN_PORT": "",  # empty: any free port, so that several broker versions and projects do not meet
    "PROXY_PORTS": "",
    "PORTAL_PORT": "",
}
"""Whatever the environment sets wins, but for COMPOSE_…: `down` must never meet another project."""


def main() -> int:
    """One command; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("up", "url", "down"))
    parser.add_argument("--json", action="store_true", help="for programs")
    words = parser.parse_args()
    try:
        if words.command == "up":
            compose("up", "--detach", "--wait", "--quiet-pull")
            fetch_certificate()
        elif words.command == "down":
            compose("down", "--volumes", "--timeout", "5", "--remove-orphans")
            return 0
        tell(where(), as_json=words.json)
    except subprocess.CalledProcessError as error:
        print(f"testenv: docker compose {error.cmd[4]} failed; what it said is above", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"testenv: {error.filename} is missing; install Docker with its compose plugin", file=sys.stderr)
        return 1
    return 0


def compose(*words: str) -> str:
    """What `docker compose …` printed; its progress is seen as it happens."""
    files = os.pathsep.join(str(HERE / name) for name in ("compose.yaml", "compose.testenv.yaml"))
    ours = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    environment = {**DEFAULTS, **ours, "COMPOSE_PROJECT_NAME": PROJECT, "COMPOSE_FILE": files}
    done = subprocess.run(
        ["docker", "compose", "--env-file", os.devnull, *words],  # noqa: S607 - wherever Docker is installed
        check=True,
        env=environment,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
    )
    return done.stdout


def fetch_certificate() -> None:
    """The client's files, the key for its owner alone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in FILES.values():
        path = FOLDER / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(compose("exec", "-T", "main", "cat", f"{HOME}/main_server/certs/{name}"), encoding="utf-8")


def where() -> dict[str, str]:
    """What a test needs to know."""
    found = {role: f"https://localhost:{published(role, port)}" for role, port in SERVERS.items()}
    files = {name: str(FOLDER / file) for name, file in FILES.items()}
    return {**found, "client": CLIENT, **files}


def published(role: str, port: int) -> str:
    """The port on this machine."""
    return compose("port", role, str(port)).strip().rpartition(":")[2]


def tell(found: dict[str, str], *, as_json: bool) -> None:
    """To programs or people."""
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:8}{value}")
    print("\ntry it:")
    print(
        f"  curl --cacert {found['ca']} --cert {found['cert']} --key {found['key']}"
        f' --json \'{{"body": "hello"}}\' {found["proxy"]}/api/v1/messages'
    )


if __name__ == "__main__":
    sys.exit(main())
