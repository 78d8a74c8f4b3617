"""`messagebroker smoke`: a running installation, seen from outside, ending with a message that came back."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from messagebroker import roles
from messagebroker.client import ClientError, MessageBroker
from messagebroker.client.tls import Identity
from messagebroker.errors import BrokerError
from messagebroker.settings import Settings, load

SECONDS = 10.0


@dataclass(frozen=True)
class Step:
    """One thing that was tried."""

    name: str
    ok: bool
    said: str
    seconds: float


class Failed(Exception):
    """A step's sentence about what is wrong; the steps after it make no sense."""


def smoke(
    name: Annotated[str, typer.Option(help="The client whose certificate in CERTS_DIR to use.")] = "demo",
    cert: Annotated[Path | None, typer.Option(help="Another certificate.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    ca: Annotated[Path | None, typer.Option(help="The certificate of the system's CA.")] = None,
    url: Annotated[str | None, typer.Option(help="The proxy; by default PROXY_URL, or this machine's.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds until the message must be stored.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check a running installation from outside: submit a message, see it stored, read it back.

    Example: messagebroker smoke --url https://broker.example.org:8001 --cert me.crt --key me.key --ca ca.crt
    """
    settings = load()
    certs = settings.path(settings.certs_dir)
    check = Check(
        url=(url or settings.url_of("proxy")).rstrip("/"),
        cert=cert or certs / f"{name}.crt",
        key=key or (cert.with_suffix(".key") if cert else certs / f"{name}.key"),
        ca=ca or certs / "ca.crt",
        wait=wait,
    )
    servers = {} if url else _servers(settings)
    steps = []
    for step in check.steps(servers):
        steps.append(step)
        if not as_json:
            typer.echo(f"{'ok    ' if step.ok else 'FAILED'}  {step.name:22} {step.said} ({step.seconds * 1000:.0f} ms)")
    ok = all(step.ok for step in steps)
    if as_json:
        typer.echo(json.dumps({"ok": ok, "url": check.url, "steps": [asdict(step) for step in steps]}))
    if not ok:
        raise typer.Exit(1)


def _servers(settings: Settings) -> dict[str, str]:
    """What else of this installation answers health checks over HTTPS."""
    return {role: settings.url_of(role) for role in ("main", "portal")}


class Check:
    """The steps of a smoke test, with one client's certificate against one proxy."""

    def __init__(self, *, url: str, cert: Path, key: Path, ca: Path, wait: float) -> None:
        self.url, self.cert, self.key, self.ca, self.wait = url, cert, key, ca, wait
        self.body = f"smoke test {secrets.token_hex(8)}"
        self.message_id = ""

    def steps(self, servers: dict[str, str]) -> Iterator[Step]:
        """One after another, to the first that fails; `servers`: name -> URL of others that must be healthy."""
        plan: dict[str, Callable[[], str]] = {
            **{f"{name} is healthy": self._health(address) for name, address in servers.items()},
            "proxy is ready": self._ready,
            "no certificate": self._refusal,
            "who am I": self._whoami,
            "submitted": self._submit,
            "stored and retrieved": self._retrieve,
        }
        for name, step in plan.items():
            began = time.monotonic()
            try:
                said, ok = step(), True
            except (Failed, ClientError, httpx.HTTPError, BrokerError) as error:
                said, ok = str(error) or type(error).__name__, False
            yield Step(name, ok, said, time.monotonic() - began)
            if not ok:
                return

    def _anonymous(self) -> httpx.Client:
        return httpx.Client(verify=Identity(ca=self.ca).context, timeout=SECONDS, trust_env=False)

    def _broker(self) -> MessageBroker:
        return MessageBroker(self.url, ca=self.ca, cert=self.cert, key=self.key, timeout=SECONDS)

    def _health(self, address: str) -> Callable[[], str]:
        return lambda: self._asked(f"{address}/health")

    def _ready(self) -> str:
        self._require_proxy()
        return self._asked(f"{self.url}/api/v1/health/ready")

    def _require_proxy(self) -> None:
        """Every role answers whether it is ready; only its health says who it is."""
        answer = self._got(f"{self.url}/api/v1/health")
        role = _role_in(answer)
        if role == "proxy":
            return
        who = f"{role} answers there" if role else f"something else answers there ({answer.status_code})"
        raise Failed(f"{self.url} is no proxy: {who}; give the proxy's URL, as in --url https://broker.example.org:8001")

    def _asked(self, address: str) -> str:
        answer = self._got(address)
        if answer.status_code != 200:
            raise Failed(f"{address} answered {answer.status_code}: {answer.text[:500]}")
        return address

    def _got(self, address: str) -> httpx.Response:
        with self._anonymous() as http:
            try:
                return http.get(address)
            except httpx.ConnectError as error:
                raise Failed(f"{address} cannot be reached: {error}") from error

    def _refusal(self) -> str:
        with self._anonymous() as http:
            answer = http.post(f"{self.url}/api/v1/messages", json={"body": self.body})
        if answer.status_code != 401:
            raise Failed(f"a message without a certificate was answered {answer.status_code}; it must be 401")
        return "is refused with 401"

    def _whoami(self) -> str:
        with self._broker() as broker:
            seen: dict[str, Any] = broker.whoami()
        return ", ".join(f"{name} {value}" for name, value in seen.items() if isinstance(value, str | int | float))

    def _submit(self) -> str:
        with self._broker() as broker:
            taken = broker.submit(self.body, metadata={"purpose": "smoke test"})
        self.message_id = taken.message_id
        return f"message {taken.message_id}, durability {taken.durability}"

    def _retrieve(self) -> str:
        with self._broker() as broker:
            message = broker.get(self.message_id, wait=self.wait)
        if message.body != self.body:
            raise Failed(f"the body came back changed: {message.body!r} instead of {self.body!r}")
        return f"status {message.status}, the same body"


def _role_in(answer: httpx.Response) -> str | None:
    """The role that a health answer names, None for an answer of something else."""
    try:
        role = answer.json()["role"]
    except (ValueError, KeyError, TypeError):
        return None
    return role if role in roles.NAMES else None
