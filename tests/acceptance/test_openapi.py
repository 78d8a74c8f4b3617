"""Schemathesis over both OpenAPI documents, against running roles: no 5xx, and nothing the document does not say."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.cast import Shelf
from support.fuzzed import objects_of, seen_by
from support.installation import Installation
from support.servers import MariaDB, Redis, program

from messagebroker.db.connection import connected
from messagebroker.db.models import Session, User
from messagebroker.ops import ids, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.permissions import ROLES
from messagebroker.ops.sessions import Why

TEST = Actor(name="cli:test")
API = "/api/v1"
ENDS_THE_SESSION = (f"{API}/auth/password", f"{API}/auth/logout")
PASSWORD = "a-long-passphrase-for-schemathesis-1"
CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "20")
PHASES = "examples,coverage,fuzzing"
FEW = os.environ.get("SCHEMATHESIS_EXAMPLES", "3")
"""For those who are refused almost everywhere."""
_FAR = 100_000_000
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
            api_rate_per_client=100_000,
        ) as installed:
            installed.start("main", "proxy", "worker")
            yield installed


def _run(
    installation: Installation, role: str, *extra: str, examples: str = EXAMPLES, phases: str = PHASES, **told: Any
) -> subprocess.CompletedProcess[str]:
    """`told`: what tests/acceptance/schemathesis_hooks.py reads from its environment."""
    url = installation.url(role)
    command = [
        program("schemathesis"), "--config-file", str(CONFIG), "run", f"{url}/openapi.json",
        "--url", url, "--tls-verify", str(installation.certs / "ca.crt"),
        "--checks", CHECKS, "--max-examples", examples, "--phases", phases, "--no-color",
        "--suppress-health-check", "all", "--generation-database", "none", "--continue-on-failure", "--request-timeout",
        "10", *extra,
    ]  # fmt: skip
    given = {f"MESSAGEBROKER_{name.upper()}": json.dumps(value) for name, value in told.items()}
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS), **given}
    return subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=installation.folder, env=environment)


def _assert_clean(found: subprocess.CompletedProcess[str], *, cases: int = 100) -> None:
    generated = re.search(r"([\d,]+) generated", found.stdout)
    assert found.returncode == 0, found.stdout[-12000:] + found.stderr[-2000:]
    assert generated, found.stdout[-3000:]
    assert int(generated.group(1).replace(",", "")) > cases, "too few cases to mean anything"


def _read(installation: Installation, role: str) -> dict[str, float]:
    """How many GETs of each path were answered with 200, as the role's own metrics count them."""
    with installation.http() as http:
        text = http.get(f"{installation.url(role)}/metrics").text
    found = re.findall(r'^messagebroker_http_requests_total\{method="GET",route="([^"]+)",status="200"\} (\S+)', text, re.M)
    return {route: float(count) for route, count in found}


@contextmanager
def _reading(installation: Installation, role: str, paths: set[str]) -> Iterator[None]:
    """Holds what runs inside to reading each of the paths at least once: a document is proven by answers, not by 404s."""
    before = _read(installation, role)
    yield
    after = _read(installation, role)
    assert {path for path in paths if after.get(path, 0) <= before.get(path, 0)} == set(), "never answered with 200"


@pytest.mark.tier("schemathesis")
@pytest.mark.timeout(900)
def test_the_proxy_keeps_its_openapi_document(installation: Installation) -> None:
    files = installation.client("schemathesis")
    with connected():
        own = {"message_id": Shelf(installation.settings).put(client_id=files.name)}
    with _reading(installation, "proxy", {f"{API}/messages", f"{API}/messages/counts", f"{API}/messages/{{message_id}}"}):
        certificate = ("--request-cert", str(files.cert), "--request-cert-key", str(files.key))
        _assert_clean(_run(installation, "proxy", *certificate, objects=own))
    installation.wait_until_drained(60)
    assert installation.dead_letters() == 0


@pytest.mark.tier("schemathesis")
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("real_hashing")  # main would hash anew what was hashed quickly
@pytest.mark.parametrize("role", [*ROLES, "nobody"])
def test_main_keeps_its_openapi_document(installation: Installation, role: str) -> None:
    for number in range(20):  # whom an admin may shut out and log out: it guesses small numbers
        users.create(f"{role}{number}@example.org", "user", actor=TEST)
    examples = EXAMPLES if role == "admin" else FEW
    if role == "nobody":
        _assert_clean(_run(installation, "main", examples=examples))
        return
    person = _person(role)
    token = _token(installation, person.email)
    phases = PHASES if role == "admin" else "examples,fuzzing"  # every boundary once is enough: who asks does not move it
    excluded = [word for path in ENDS_THE_SESSION for word in ("--exclude-path", path)]
    with connected():
        spared = {"session_id": ids.text(Session.get(Session.user == person).id), "user_id": str(person.id)}
        objects = objects_of(person, installation.settings)
    with _reading(installation, "main", seen_by(role)):
        signed_in = ("--header", f"Authorization: Bearer {token}", *excluded)
        told = {"objects": objects, "spared": spared}
        _assert_clean(_run(installation, "main", *signed_in, examples=examples, phases=phases, **told))
    with installation.http() as http:
        me = http.get(f"{installation.url('main')}{API}/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert (me.status_code, me.json().get("role")) == (200, role), "the session ended on the way: what came after was refused"


@pytest.mark.tier("schemathesis")
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("real_hashing")
def test_what_ends_a_session_keeps_the_document_too(installation: Installation) -> None:
    """Each request with a session of its own, which nobody needs afterwards."""
    email = _person("user", "throw-away").email
    login = {
        "url": f"{installation.url('main')}{API}/auth/login",
        "ca": str(installation.certs / "ca.crt"),
        "body": {"email": email, "password": PASSWORD},
    }
    included = [word for path in ENDS_THE_SESSION for word in ("--include-path", path)]
    _assert_clean(_run(installation, "main", *included, examples=FEW, login=login), cases=10)
    with connected():
        ended = Session.select().join(User).where(User.email == email, Session.ended_why == Why.LOGOUT).count()
    assert ended > 0, "no request that ends a session was let in"


def _person(role: str, name: str = "schemathesis") -> User:
    """With a number that nobody guesses: an admin who tries small ones must not shut out itself."""
    email = f"{name}-{role}@example.org"
    users.create(email, role, password=PASSWORD, actor=TEST)
    User.update(id=User.id + _FAR).where(User.email == email, User.id < _FAR).execute()
    return users.find(email)


def _token(installation: Installation, email: str) -> str:
    with installation.http() as http:
        answer = http.post(f"{installation.url('main')}{API}/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])
