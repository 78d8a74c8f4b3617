"""Whom `smoke` believes to be a proxy. The whole of it runs against a real `up` in tests/acceptance/test_up.py."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from messagebroker.cli.smoke import Check, Step

URL = "https://broker.example.org:8001"


def first_step(monkeypatch: pytest.MonkeyPatch, health: httpx.Response) -> Step:
    """Of a check of a server that answers `health` and is ready in any case."""

    def answered(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"status": "ready"}) if request.url.path.endswith("ready") else health

    monkeypatch.setattr(Check, "_anonymous", lambda self: httpx.Client(transport=httpx.MockTransport(answered)))
    nothing = Path("none")
    return next(Check(url=URL, cert=nothing, key=nothing, ca=nothing, wait=1).steps({}))


@pytest.mark.parametrize("role", ["main", "portal", "worker"])
def test_another_role_is_named(monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    step = first_step(monkeypatch, httpx.Response(200, json={"status": "ok", "role": role}))
    assert not step.ok
    assert step.said.startswith(f"{URL} is no proxy: {role} answers there; give the proxy's URL")


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(200, text="<h1>Welcome to nginx!</h1>"), httpx.Response(200, json=["role"]), httpx.Response(404, json={})],
)
def test_a_stranger_is_no_proxy(monkeypatch: pytest.MonkeyPatch, answer: httpx.Response) -> None:
    step = first_step(monkeypatch, answer)
    assert not step.ok
    assert f"{URL} is no proxy: something else answers there ({answer.status_code})" in step.said


def test_a_proxy_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    step = first_step(monkeypatch, httpx.Response(200, json={"status": "ok", "role": "proxy"}))
    assert (step.ok, step.said) == (True, f"{URL}/api/v1/health/ready")
