"""A fixed cast that calls main's application, and messages that it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from falcon import testing
from support.records import record

from messagebroker.db.models import PRIORITIES, AuditEntry, DataKey, Message, User
from messagebroker.ops import clock, failures, ids, passwords, sessions, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.identity import Kind, Peer
from messagebroker.ops.keyring import KeyRing
from messagebroker.ops.records import Payload, encode_payload
from messagebroker.ops.sealing import Sealer
from messagebroker.ops.tokens import Tokens
from messagebroker.settings import Settings

PASSWORD = "a long enough one 1"
TEST = Actor(name="cli:test")


def peer(kind: Kind, name: str, *, days: float = 30) -> Peer:
    now = datetime.now(UTC)
    return Peer(kind, name, f"{kind}-{name}", now - timedelta(days=1), now + timedelta(days=days), "00" * 32)


@dataclass
class FakeWatcher:
    """A policy that is there; tests change what it says."""

    revoked: set[str] = field(default_factory=lambda: {"client-revoked"})
    fresh: bool = True

    def is_fresh(self, seconds: float = 5.0) -> bool:
        return self.fresh

    def refusal(self, peer: Peer) -> str | None:
        if peer.serial in self.revoked:
            return "revoked"
        return "expired" if peer.not_after <= clock.now() else None


@cache
def _hash_of_password() -> str:
    return passwords.hashed(PASSWORD)  # once for all tests: it is slow by design


class Cast:
    """Everybody who may come to main. `as_…` is one call by one of them."""

    roles = ("user", "user_manager", "operator", "admin")

    def __init__(self, app: Any, tokens: Tokens, watcher: FakeWatcher, settings: Settings) -> None:
        self.http = testing.TestClient(app)
        self.tokens = tokens
        self.watcher = watcher
        self.settings = settings
        self.peers = {
            "owner": peer("client", "owner"),
            "other": peer("client", "other"),
            "revoked": peer("client", "revoked"),
            "proxy": peer("component", "proxy"),
            "portal": peer("component", "portal"),
            "worker": peer("component", "worker"),
            "monitoring": peer("component", "monitoring"),
        }
        rows = [
            {"email": f"{role}@example.org", "role": role, "password_hash": _hash_of_password(), "created_at": clock.now()}
            for role in self.roles
        ]
        User.insert_many(rows).execute()

    def person(self, role: str) -> User:
        return users.find(f"{role}@example.org")

    def token(self, role: str) -> str:
        return sessions.begin(self.tokens, self.person(role)).access

    def call(
        self, method: str, path: str, *, token: str | None = None, peer: str | None = None,
        headers: dict[str, str] | None = None, address: str = "192.0.2.7", **more: Any,
    ) -> testing.Result:  # fmt: skip
        environ = {"REMOTE_ADDR": address, "messagebroker.peer": self.peers[peer] if peer else None}
        given = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        return self.http.simulate_request(method, path, headers=given, extras=environ, **more)

    def get(self, path: str, role: str | None = None, **more: Any) -> testing.Result:
        return self.call("GET", path, token=self.token(role) if role else None, **more)

    def post(self, path: str, role: str | None = None, **more: Any) -> testing.Result:
        return self.call("POST", path, token=self.token(role) if role else None, **more)


class Shelf:
    """Puts sealed messages into the table, as ingest does."""

    def __init__(self, settings: Settings) -> None:
        self._sealing = Sealer(KeyRing.load(settings).current_public, 300).current()
        key = self._sealing.key
        DataKey.insert(
            id=key.id, master_key_id=key.master_key_id, sealed=key.sealed,
            created_at=clock.from_micros(key.created_at), last_seen_at=clock.now(),
        ).execute()  # fmt: skip

    def put(self, body: str | bytes = "hello", **changes: Any) -> str:
        message_id = changes.pop("id", None) or ids.new()
        client = changes.pop("client_id", "owner")
        payload = Payload(body, changes.pop("sender", "+491511"), changes.pop("metadata", {"colour": "red"}))
        now = clock.now()
        row: dict[str, Any] = {
            "topic": "orders", "priority": PRIORITIES.index("normal"), "status": "delivered", "created_at": now,
            "stored_at": now, "size": len(body), "data_key_id": self._sealing.key.id, **changes,
        }  # fmt: skip
        sealed = self._sealing.seal(message_id, client.encode(), encode_payload(payload))
        Message.insert(id=message_id, client_id=client, payload=sealed, **row).execute()
        return ids.text(message_id)

    def set_aside(self, *, client_id: str, error: str = "DataError: too long") -> str:
        """A message that could not be stored; a retry stores it, and it opens then."""
        message_id, key = ids.new(), self._sealing.key
        payload = encode_payload(Payload("hello", "+491511", {}))
        sealed = self._sealing.seal(message_id, client_id.encode(), payload)
        one = record(id=message_id, client=client_id, sealed=sealed, data_key_id=key.id)
        failures.set_aside(one, key, error)
        return ids.text(message_id)


def audited(action: str) -> list[AuditEntry]:
    return list(AuditEntry.select().where(AuditEntry.action == action).order_by(AuditEntry.id))


def assert_problem(result: testing.Result, status: int, name: str) -> dict[str, Any]:
    assert (result.status_code, result.headers["content-type"]) == (status, "application/problem+json"), result.text
    document: dict[str, Any] = result.json
    assert document["type"] == f"urn:messagebroker:problem:{name}"
    assert document["status"] == status
    assert document["detail"]
    return document
