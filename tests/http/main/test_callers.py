"""Who may call at all: tokens that are forged, certificates beside tokens, addresses that are claimed."""

from __future__ import annotations

import base64
import json
import statistics
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import falcon
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from falcon import testing
from support.cast import TEST, Cast, assert_problem, audited, peer

from messagebroker.http.main.app import OPEN_PATHS
from messagebroker.http.main.callers import Caller, Callers
from messagebroker.http.main.failures import Failures
from messagebroker.http.problems import Problem
from messagebroker.ops import clock, users
from messagebroker.ops.tokens import AUDIENCE, ISSUER

ME, LIST = "/api/v1/auth/me", "/api/v1/messages"
SESSIONS = {"another's session": None, "no session": "00" * 16, "session as a number": 7}


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def encoded(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def forged(cast: Cast, attack: str) -> str:
    good = cast.token("admin")
    claims = claims_of(good)
    secret = cast.tokens._secret
    head, body, signature = good.split(".")
    if attack == "no algorithm":
        return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{body}."
    if attack == "no algorithm, old signature":
        return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{body}.{signature}"
    if attack == "another algorithm":
        return jwt.encode(claims, secret * 2, algorithm="HS512")
    if attack == "another key":
        return jwt.encode(claims, b"x" * 64, algorithm="HS256")
    if attack == "another audience":
        return jwt.encode({**claims, "aud": "messagebroker:portal"}, secret, algorithm="HS256")
    if attack == "another issuer":
        return jwt.encode({**claims, "iss": "elsewhere"}, secret, algorithm="HS256")
    if attack == "expired":
        return jwt.encode({**claims, "exp": clock.now() - timedelta(seconds=1)}, secret, algorithm="HS256")
    if attack == "from the future":
        return jwt.encode({**claims, "iat": clock.now() + timedelta(hours=1)}, secret, algorithm="HS256")
    if attack == "other claims, old signature":
        return f"{head}.{encoded({**claims, 'sub': '1'})}.{signature}"
    if attack == "nobody's number":
        return jwt.encode({**claims, "sub": "999999"}, secret, algorithm="HS256")
    if attack == "no number":
        return jwt.encode({**claims, "sub": "1 OR 1=1"}, secret, algorithm="HS256")
    if attack in SESSIONS:
        other = claims_of(cast.token("user"))["sid"]
        return jwt.encode({**claims, "sid": SESSIONS[attack] or other}, secret, algorithm="HS256")
    if attack == "asymmetric":  # a server that took the algorithm from the header would use its secret as a public key
        return jwt.encode(claims, rsa.generate_private_key(65537, 2048), algorithm="RS256")
    if attack.startswith("without "):
        left = {name: value for name, value in claims.items() if name != attack.removeprefix("without ")}
        return jwt.encode(left, secret, algorithm="HS256")
    return {"cut": good[:-4], "empty": "", "noise": "ÿ.ÿ.ÿ", "words": "a b c", "huge": "a" * 9000}[attack]


ATTACKS = [
    "no algorithm", "no algorithm, old signature", "another algorithm", "another key", "another audience", "another issuer",
    "expired", "from the future", "other claims, old signature", "nobody's number", "no number", "without exp", "without aud",
    "without iss", "without pwd", "without sub", "without sid", "another's session", "no session", "session as a number",
    "asymmetric", "cut", "empty", "noise", "words", "huge",
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_forged_token_is_nobodys(cast: Cast, attack: str) -> None:
    answer = cast.call("GET", ME, headers={"Authorization": f"Bearer {forged(cast, attack)}"})
    assert_problem(answer, 401, "token-invalid")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_token_that_the_attacks_begin_with_is_good(cast: Cast) -> None:
    good = cast.token("admin")
    claims = claims_of(good)
    assert (claims["iss"], claims["aud"]) == (ISSUER, AUDIENCE)
    again = jwt.encode(claims, cast.tokens._secret, algorithm="HS256")
    assert cast.call("GET", ME, token=again).status_code == 200


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "bearer", "Token x", ""])
def test_other_authorizations_are_refused(cast: Cast, header: str) -> None:
    assert_problem(cast.call("GET", ME, headers={"Authorization": header}), 401, "token-invalid")


def test_a_token_ends_with_its_user_and_with_the_password(cast: Cast) -> None:
    token, other = cast.token("user"), cast.token("operator")
    users.set_disabled("user@example.org", True, actor=TEST)
    assert_problem(cast.call("GET", ME, token=token), 401, "token-invalid")
    users.set_disabled("user@example.org", False, actor=TEST)
    assert_problem(cast.call("GET", ME, token=token), 401, "token-invalid")
    token = cast.token("user")
    assert cast.call("GET", ME, token=token).status_code == 200
    users.reset_password("user@example.org", actor=TEST)
    assert_problem(cast.call("GET", ME, token=token), 401, "token-invalid")
    assert cast.call("GET", ME, token=other).status_code == 200


@pytest.mark.parametrize("who", ["owner", "other"])
def test_a_persons_token_beside_a_clients_certificate_is_refused(cast: Cast, who: str) -> None:
    for path in (ME, LIST, "/api/v1/auth/login"):
        assert_problem(cast.get(path, "admin", peer=who), 403, "certificate-and-token")
        assert_problem(cast.get(path, peer=who), 403, "clients-use-the-proxy")


def test_a_token_beside_the_portals_certificate_is_the_persons_and_no_more(cast: Cast) -> None:
    assert cast.get(ME, "user", peer="portal").json["email"] == "user@example.org"
    assert_problem(cast.get("/api/v1/audit", "user", peer="portal"), 403, "forbidden")
    assert_problem(cast.get(LIST, peer="portal"), 401, "token-required")


def test_the_proxy_does_not_speak_for_people(cast: Cast) -> None:
    assert_problem(cast.get(LIST, "admin", peer="proxy"), 403, "certificate-and-token")
    assert_problem(cast.get("/api/v1/audit", peer="proxy"), 403, "forbidden")


@pytest.mark.parametrize("who", ["worker", "monitoring"])
def test_other_components_have_no_business_here(cast: Cast, who: str) -> None:
    assert_problem(cast.get(LIST, peer=who), 403, "component-not-allowed")


def test_a_revoked_or_expired_certificate_is_refused_and_its_connection_closed(cast: Cast) -> None:
    closed: list[str] = []
    cast.peers["ended"] = peer("component", "portal", days=-1)
    for who, name in (("revoked", "certificate-revoked"), ("ended", "certificate-expired")):
        extras = {"messagebroker.peer": cast.peers[who], "messagebroker.close": lambda who=who: closed.append(who)}
        answer = cast.http.simulate_get(LIST, headers={"Authorization": f"Bearer {cast.token('admin')}"}, extras=extras)
        assert_problem(answer, 403, name)
    assert closed == ["revoked", "ended"]


def test_while_redis_is_away_the_database_tells_who_is_revoked(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from messagebroker.ops import registry

    cast.watcher.fresh = False
    assert cast.get(ME, "user", peer="portal").status_code == 200
    monkeypatch.setattr(registry, "revoked_serials", lambda: frozenset({"component-portal"}))
    assert_problem(cast.get(ME, "user", peer="portal"), 403, "certificate-revoked")


def test_strangers_get_the_same_answer_for_every_path(cast: Cast) -> None:
    for path in (LIST, "/api/v1/audit", "/api/v1/nothing", "/", "/api/v1/messages/", "//health", "/docs/x", "/api/v1/crl/"):
        assert_problem(cast.get(path), 401, "token-required")
    for path in OPEN_PATHS - {"/api/v1/ca.crt", "/api/v1/crl"}:
        assert cast.get(path).status_code == 200, path


@pytest.mark.parametrize(
    ("who", "claimed", "believed"),
    [
        ("portal", "203.0.113.9", "203.0.113.9"),
        ("portal", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("portal", "2001:DB8::1", "2001:db8::1"),
        ("portal", "not an address", "192.0.2.7"),
        (None, "203.0.113.9", "192.0.2.7"),
    ],
)
def test_only_the_portal_says_where_people_sit(cast: Cast, who: str | None, claimed: str, believed: str) -> None:
    new = {"current_password": "a long enough one 1", "new_password": "quite another one 2"}
    headers = {"X-Forwarded-For": claimed, "User-Agent": "Browser\tÿ" + "x" * 300}
    assert cast.post("/api/v1/auth/password", "user", peer=who, headers=headers, json=new).status_code == 200
    [entry] = audited("user.change-password")
    assert entry.address == believed
    assert entry.user_agent.startswith("Browser?")
    assert len(entry.user_agent) == 255


def test_every_method_of_every_resource_says_who_may(cast: Cast) -> None:
    """A resource without `rights` refuses everybody; here it must not even be forgotten."""
    document = cast.get("/openapi.json").json
    for path, methods in document["paths"].items():
        for method in methods:
            resource, *_ = cast.http.app._router.find(path)
            if path in OPEN_PATHS or path.endswith("/metrics"):
                continue
            assert method.upper() in resource.rights, f"{method} {path}"


@pytest.mark.clocked
def test_a_permission_is_checked_in_a_tenth_of_a_millisecond(cast: Cast) -> None:
    """Granted and refused; the best of three medians, since others use this machine too."""
    check = Callers(cast.tokens, open_paths=OPEN_PATHS, anonymous_paths=frozenset())
    request, response, resource = testing.create_req(path="/api/v1/ingest-failures"), falcon.Response(), Failures()
    for role in ("operator", "user"):
        request.context.caller = Caller(person=cast.person(role))
        medians = []
        for _ in range(3):
            seconds = []
            for _ in range(500):
                began = time.perf_counter()
                with suppress(Problem):
                    check.process_resource(request, response, resource, {})
                seconds.append(time.perf_counter() - began)
            medians.append(statistics.median(seconds))
        assert min(medians) < 0.0001, role


def test_a_client_is_let_in_by_name_of_the_right_alone(cast: Cast) -> None:
    """Whatever path a resource is put under one day."""
    check = Callers(cast.tokens, open_paths=OPEN_PATHS, anonymous_paths=frozenset())
    request = testing.create_req(path="/api/v1/pull/failures")
    request.context.caller, request.context.peer = Caller(client="owner"), cast.peers["owner"]
    with pytest.raises(Problem, match="Forbidden"):
        check.process_resource(request, falcon.Response(), Failures(), {})


def test_a_method_that_is_not_there_is_a_405(cast: Cast) -> None:
    answer = cast.call("DELETE", LIST, token=cast.token("admin"))
    assert_problem(answer, 405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]
