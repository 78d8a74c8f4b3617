"""A proxy's application without its TLS server: requests go straight into WSGI, Redis and sealing are real."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import dramatiq
import falcon.testing
import msgspec
import redis

from messagebroker.actors.ingest import add_calls, prepare
from messagebroker.db.models import PRIORITIES
from messagebroker.http.later import DEFER, Deferred, Reply
from messagebroker.http.proxy.app import Parts, make
from messagebroker.ops import ids
from messagebroker.ops.identity import Peer
from messagebroker.ops.keyring import KeyRing, create_master_key
from messagebroker.ops.private_files import write_secret
from messagebroker.ops.records import Payload, Record, decode_call, decode_payload
from messagebroker.ops.redis_client import NAMESPACE, connect
from messagebroker.ops.snapshot import ClientPolicy, Policy
from messagebroker.settings import Settings

ACME = ClientPolicy("acme", "messages", None, None, None, False)
SLOW = ClientPolicy("slow", "messages", None, 10, None, False)
SMALL = ClientPolicy("small", "messages", None, None, 2, False)
ORDERS = ClientPolicy("orders", "orders.new", ("orders.*", "returns"), None, None, False)
CAST = (ACME, SLOW, SMALL, ORDERS)


def peer(name: str = "acme", *, days: int = 30, kind: str = "client") -> Peer:
    now = datetime.now(UTC)
    return Peer(kind, name, "ab12", now - timedelta(days=1), now + timedelta(days=days), "f" * 64)  # type: ignore[arg-type]


@dataclass
class Watcher:
    """What a PolicyWatcher says, told by the test."""

    current: Policy | None
    fresh: bool = True
    refused: dict[str, str] = field(default_factory=dict)

    def is_fresh(self, seconds: float = 5.0) -> bool:
        return self.fresh

    def refusal(self, who: Peer) -> str | None:
        return self.refused.get(who.name)


class Deferring:
    """WSGI around the application that does what the server does: waits for answers that come later."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        replies: SimpleQueue[Reply] = SimpleQueue()
        environ[DEFER] = lambda: SimpleNamespace(answer=replies.put)
        try:
            return self._app(environ, start_response)
        except Deferred:
            status, headers, body = replies.get(timeout=30)
            start_response(status, headers)
            return [body]


class Proxy:
    """An application, its Redis, and the private key that opens what it sealed."""

    def __init__(self, settings: Settings) -> None:
        create_master_key(settings)
        write_secret(settings.path(settings.sender_key_path), secrets.token_hex(32).encode())
        self.ring = KeyRing.load(settings)
        key_id, public = self.ring.current_public
        clients = {client.name: client for client in CAST}
        self.watcher = Watcher(Policy(1, datetime.now(UTC), frozenset(), clients, key_id, public, False))
        self.redis = connect(settings)
        self.assemble(settings)

    def assemble(self, settings: Settings) -> None:
        self.app, self.parts = make(settings, watcher=self.watcher, client=self.redis, add_calls=add_calls, prepare=prepare)  # type: ignore[arg-type]
        self.http = falcon.testing.TestClient(Deferring(self.app))

    def post(
        self, path: str, body: Any, *, client: str = "acme", content_type: str = "application/json", **headers: str
    ) -> Any:
        """`headers` with underscores for hyphens."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.simulate_post(
            path, body=content, headers={"Content-Type": content_type, **named}, extras={"messagebroker.peer": peer(client)}
        )

    def submit(self, body: Any, **options: Any) -> Any:
        return self.post("/api/v1/messages", body, **options)

    def batch(self, messages: Any, **options: Any) -> Any:
        return self.post("/api/v1/messages/batch", {"messages": messages}, **options)

    def get(self, path: str, *, client: str | Peer = "acme", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        who = client if isinstance(client, Peer) else peer(client)
        return self.http.simulate_get(path, headers=named, extras={"messagebroker.peer": who})

    def maintain(self) -> None:
        assert self.watcher.current
        self.watcher.current = replace(self.watcher.current, maintenance=True)

    def default_topic(self, client: str, topic: str) -> None:
        policy = self.watcher.current
        assert policy
        changed = replace(policy.clients[client], default_topic=topic)
        self.watcher.current = replace(policy, clients={**policy.clients, client: changed})

    def queued(self) -> list[Record]:
        """Every record that waits in Redis, in order."""
        return [record for queue in PRIORITIES for record in self._calls(queue)]

    def opened(self) -> list[tuple[Record, Payload]]:
        """Every record that waits, with what it holds."""
        return [(record, self._payload(record)) for record in self.queued()]

    def _calls(self, queue: str) -> list[Record]:
        found = []
        for call_id in self.redis.lrange(f"{NAMESPACE}:{queue}", 0, -1):
            message = dramatiq.Message.decode(self.redis.hget(f"{NAMESPACE}:{queue}.msgs", call_id))
            for argument in message.args:
                call = decode_call(argument)
                self.keys.update({key.id: key for key in call.keys})
                found += call.records
        return found

    keys: dict[bytes, Any] = {}  # noqa: RUF012 of all proxies of a session

    def _payload(self, record: Record) -> Payload:
        data_key = self.ring.open_key(self.keys[record.data_key_id])
        return decode_payload(self.ring.open(record.id, record.client, record.sealed, data_key))


def problem(answer: Any) -> tuple[int, str, str | None]:
    """Status, type without its prefix, and field of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json
    assert document["status"] == answer.status_code
    assert document["detail"]
    return answer.status_code, document["type"].removeprefix("urn:messagebroker:problem:"), document.get("field")


__all__ = ["ACME", "Parts", "Proxy", "Watcher", "ids", "peer", "problem", "redis"]
