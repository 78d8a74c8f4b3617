"""How deliveries reach somebody: one file a channel, and its line in `CHANNELS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import msgspec

from messagebroker.ops.channels.channel import Channel
from messagebroker.ops.channels.email_config import EmailConfig, first_due
from messagebroker.ops.channels.inbox_config import InboxConfig
from messagebroker.ops.channels.pull_config import PullConfig
from messagebroker.ops.channels.webhook_config import WebhookConfig, WebhookSecrets, completed
from messagebroker.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One channel. `place` names its class, which is imported only where deliveries are made."""

    name: str
    config: type[msgspec.Struct]
    secrets: type[msgspec.Struct] | None = None
    place: str | None = None  # MODULE:CLASS; None: nobody delivers, a client takes
    complete: Callable[[Any], Any] | None = None  # adds to new secrets what the system draws
    first_due: Callable[[Any, int], int | None] = lambda config, moment: None  # microseconds; None: at once

    def make(self, settings: Settings) -> Channel:
        """The channel, for the process' event loop."""
        if self.place is None:
            raise ValueError(f"the channel {self.name} has no deliveries to make")
        module, _, attribute = self.place.partition(":")
        made: Channel = getattr(import_module(module), attribute)(settings)
        return made


_HERE = "messagebroker.ops.channels"

CHANNELS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="webhook",
            config=WebhookConfig,
            secrets=WebhookSecrets,
            place=f"{_HERE}.webhook:Webhook",
            complete=completed,
        ),
        Entry(name="email", config=EmailConfig, place=f"{_HERE}.email:Email", first_due=first_due),
        Entry(name="inbox", config=InboxConfig, place=f"{_HERE}.inbox:Inbox"),
        Entry(name="pull", config=PullConfig),
    )
}
"""Name -> channel."""
