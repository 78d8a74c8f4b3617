"""Deliveries to webhooks without workers: a channel, a loop, and what may be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from types import TracebackType
from typing import Any, Self

from messagebroker.ops import ids
from messagebroker.ops.allow_list import AllowList
from messagebroker.ops.channels.channel import Outcome, Target, Work
from messagebroker.ops.channels.webhook import Webhook
from messagebroker.ops.channels.webhook_config import SigningSecret, WebhookConfig, WebhookSecrets
from messagebroker.ops.destinations import Guard
from messagebroker.ops.private_networks import Address
from messagebroker.ops.records import Payload
from messagebroker.ops.resolver import Resolver
from messagebroker.settings import load

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SIGNING = [SigningSecret(secret=SECRET)]
CREATED = datetime(2026, 3, 1, 12, 30, 0, 123456, UTC)


class Allowed(AllowList):
    """A list that is in no table."""

    def __init__(self, *networks: str) -> None:
        super().__init__()
        self.networks = list(networks)

    async def has(self, address: Address) -> bool:
        return any(
            address in ip_network(network) for network in self.networks if ip_network(network).version == address.version
        )


def work(url: str, *, secrets: WebhookSecrets | None = None, payload: Payload | None = None, **fields: Any) -> Work:
    """A message to be sent to `url`. Fields are of the work or of the configuration."""
    known = {name: fields.pop(name) for name in ("message_id", "traceparent", "correlation_id", "attempt") if name in fields}
    config = WebhookConfig(url=url, **fields)
    target = Target(id=1, name="shop", config=config, secrets=secrets or WebhookSecrets(signing=SIGNING))
    return Work(
        message_id=known.pop("message_id", ids.new()),
        client="acme",
        topic="orders.created",
        priority="high",
        created_at=CREATED,
        attempt=known.pop("attempt", 1),
        payload=payload or Payload("text", "+491", {"a": [1]}),
        target=target,
        **known,
    )


class Sender:
    """The channel in a loop of its own. Of the addresses of this machine it reaches those of `networks`."""

    def __init__(
        self,
        *,
        look_up: Callable[[str], list[str]] | None = None,
        networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128"),
        **settings: Any,
    ) -> None:
        self.allowed = Allowed(*networks)
        self._look_up, self._settings = look_up, settings
        self._runner = asyncio.Runner()
        self.channel: Webhook

    def send(self, *works: Work) -> list[Outcome]:
        return list(self._runner.run(self.channel.deliver(works)))

    def wait(self, seconds: float) -> None:
        self._runner.run(asyncio.sleep(seconds))

    def one(self, url: str, **fields: Any) -> Outcome:
        [outcome] = self.send(work(url, **fields))
        return outcome

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self._runner.run(self._make())
        return self

    async def _make(self) -> None:
        resolver = Resolver(self._look_up) if self._look_up else Resolver()
        settings = load({}, environment="test", **self._settings)
        self.channel = Webhook(settings, guard=Guard(settings, resolver=resolver, allow_list=self.allowed))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._runner.run(self.channel.close())
        finally:
            self._runner.close()
