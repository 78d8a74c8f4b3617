"""Schemathesis over both OpenAPI documents, against running roles: no 5xx, and nothing the document does not say."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.installation import Installation
from support.servers import MariaDB, Redis, program

from messagebroker.ops import users
from messagebroker.ops.audit import Actor
from messagebroker.ops.permissions import ROLES

TEST = Actor(name="cli:test")
ENDS_THE_SESSION = ("/api/v1/auth/password", "/api/v1/auth/logout", "/api/v1/auth/sessions")
PASSWORD = "a-long-passphrase-for-schemathesis-1"
CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "20")
FEW = os.environ.get("SCHEMATHESIS_EXAMPLES", "3")
"""For those who are refused almost everywhere."""
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection"
)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Redis() as redis, MariaDB() as mariadb:
        folder = tmp_path_factory.mktemp("openapi")
        with Installation(
            folder,
            redis_url=redis.url,
            database_url=mariadb.url(),
            max_connections_per_address=512,
            api_rate_per_user=100_000,
            api_rate_per_address=100_000,
        ) as installed:
            installed.start("main", "proxy", "worker")
            yield installed


def _run(installation: Installation, role: str, *extra: str, examples: str = EXAMPLES) -> subprocess.CompletedProcess[str]:
    url = installation.url(role)
    command = [
        program("schemathesis"), "--config-file", str(CONFIG), "run", f"{url}/openapi.json",
        "--url", url, "--tls-verify", str(installation.certs / "ca.crt"),
        "--checks", CHECKS, "--max-examples", examples, "--phases", "coverage,fuzzing", "--no-color",
        "--suppress-health-check", "all", "--generation-database", "none", "--continue-on-failure", "--request-timeout",
        "10", *extra,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=installation.folder)


def _assert_clean(found: subprocess.CompletedProcess[str]) -> None:
    cases = re.search(r"([\d,]+) generated", found.stdout)
    assert found.returncode == 0, found.stdout[-12000:] + found.stderr[-2000:]
    assert cases, found.stdout[-3000:]
    assert int(cases.group(1).replace(",", "")) > 100, "too few cases to mean anything"


@pytest.mark.tier("schemathesis")
@pytest.mark.timeout(900)
def test_the_proxy_keeps_its_openapi_document(installation: Installation) -> None:
    files = installation.client("schemathesis")
    _assert_clean(_run(installation, "proxy", "--request-cert", str(files.cert), "--request-cert-key", str(files.key)))
    installation.wait_until_drained(60)
    assert installation.dead_letters() == 0


@pytest.mark.tier("schemathesis")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", [*ROLES, "nobody"])
def test_main_keeps_its_openapi_document(installation: Installation, role: str) -> None:
    for number in range(20):  # whom an admin may shut out and log out: it guesses small numbers
        users.create(f"{role}{number}@example.org", "user", actor=TEST)
    _assert_clean(_run(installation, "main", *_signed_in(installation, role), examples=EXAMPLES if role == "admin" else FEW))


def _signed_in(installation: Installation, role: str) -> list[str]:
    """The words that make schemathesis somebody of this role, who stays logged in."""
    if role == "nobody":
        return []
    email = f"schemathesis-{role}@example.org"
    users.create(email, role, password=PASSWORD, actor=TEST)
    with installation.http() as http:
        login = {"email": email, "password": PASSWORD}
        token = http.post(installation.url("main") + "/api/v1/auth/login", json=login).json()["access_token"]
    excluded = [word for path in ENDS_THE_SESSION for word in ("--exclude-path", path)]
    return ["--header", f"Authorization: Bearer {token}", *excluded]
