"""Each role and server holds its own secrets, nobody else's; logs hold none."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

import pytest
from support.containers import HOME, ROLES, Project
from support.images import docker

from messagebroker.roles import BY_NAME

pytestmark = [pytest.mark.tier("containers"), pytest.mark.timeout(300)]
DATABASE, REDIS = ("main", "worker", "scheduler"), ("main", "proxy", "worker", "scheduler")
HOLDERS = {
    "DATABASE_URL": DATABASE,
    "REDIS_URL": REDIS,
    "JWT_SECRET": ("main",),
    "ca.key": ("main",),
    "encryption.key": ("main", "worker"),
    "sender.key": ("main", "proxy"),
    "main.secret": ("main",),
    "main.key": ("main",),
    "proxy.key": ("main", "proxy"),
    "portal.key": ("main", "portal"),
}
"""As the table in docs/operations.md says."""


def readable(project: Project, service: str) -> str:
    """Every file that the container's user can read outside the program and the system, in one text."""
    script = (
        f"find {HOME} /run /tmp /data /var/lib/mysql -xdev -type f -size -256k -readable -exec cat {{}} + 2>/dev/null; true"
    )
    return project.run(service, "sh", "-c", script) if service not in ROLES else _mounts(project, service)


def _mounts(project: Project, role: str) -> str:
    return project.run(role, "sh", "-c", f"cd {HOME} && find . -type f -size -256k -exec cat {{}} + ; env; true")


@pytest.fixture
def secrets(system: Project) -> dict[str, str]:
    """Name -> the secret itself, or of a key file a part that is only in it."""
    home = f"{HOME}/main_server"
    lines = system.run("main", "cat", f"{home}/.env").splitlines()
    found = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines) if name in HOLDERS}
    for path in system.run("main", "find", home, "(", "-name", "*.key", "-o", "-name", "*.secret", ")").split():
        found[path.rpartition("/")[2]] = _heart(system.run("main", "cat", path))
    assert HOLDERS.keys() <= found.keys()
    return {name: found[name] for name in HOLDERS}


def _heart(text: str) -> str:
    if '"private"' in text:
        match = re.search(r'"private": *"([^"]+)"', text)
        assert match
        return match[1]
    return text.splitlines()[1] if text.startswith("-----") else text.strip()


def test_a_role_holds_what_the_table_says_and_no_more(system: Project, secrets: dict[str, str]) -> None:
    held = {role: readable(system, role) for role in ROLES}
    actual = {name: tuple(role for role in ROLES if value in held[role]) for name, value in secrets.items()}
    assert {name: set(roles) for name, roles in actual.items()} == {name: set(roles) for name, roles in HOLDERS.items()}


def test_the_table_of_roles_says_the_same() -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "JWT_SECRET"):
        assert {role for role in ROLES if name in BY_NAME[role].variables} == set(HOLDERS[name])


def test_the_servers_hold_none_of_the_roles_secrets_and_not_each_others(system: Project, secrets: dict[str, str]) -> None:
    keys = {name: value for name, value in secrets.items() if name.endswith((".key", ".secret")) or name == "JWT_SECRET"}
    redis, mysql = readable(system, "redis"), readable(system, "mysql")
    assert [name for name, value in keys.items() if value in redis + mysql] == []
    assert password(secrets["REDIS_URL"]) not in redis + mysql  # Redis knows a hash
    assert password(secrets["DATABASE_URL"]) not in redis


def password(url: str) -> str:
    match = re.search(r"://[^:]+:([^@]+)@", url)
    assert match
    return match[1]


def test_no_secret_is_in_a_log_an_argument_or_the_engines_description(system: Project, secrets: dict[str, str]) -> None:
    looked_at = {"the log": system.compose("logs", "--no-color")}
    for service in (*ROLES, "mysql", "redis", "setup", "passwords"):
        container = system.container(service)
        looked_at[f"docker inspect {service}"] = docker("inspect", container)
        looked_at[f"docker logs {service}"] = docker("logs", container, check=False)
    for role in ROLES:
        looked_at[f"{role}'s log file"] = system.run(role, "sh", "-c", f"cat {HOME}/logs/*")
        looked_at[f"{role}'s arguments"] = system.run(role, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert len(looked_at["main's log file"]) > 100
    leaks = [(place, name) for place, text in looked_at.items() for name, value in hearts(secrets) if value in text]
    assert leaks == []


def hearts(secrets: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in secrets.items():
        yield name, password(value) if "://" in value else value


def test_private_files_are_for_their_owner_alone(system: Project) -> None:
    for role in ROLES:
        folder = f"{HOME}/{BY_NAME[role].folder}"
        loose = system.run(
            role, "find", folder, "(", "-name", "*.key", "-o", "-name", "*.secret", "-o", "-name", ".env", ")", "-perm", "/077"
        )
        assert loose == "", role


def test_the_recovery_key_is_no_roles(system: Project) -> None:
    public = system.run("main", "cat", f"{HOME}/main_server/secrets/recovery.pub").strip()
    assert len(base64.b64decode(public)) == 32
    for role in ROLES:
        assert "recovery-key" not in system.run(role, "ls", "-aR", HOME)
