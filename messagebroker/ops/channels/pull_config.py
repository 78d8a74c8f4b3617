"""What people say of a pull; who takes the messages is the subscription's `client`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class PullConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`max_attempts`: leases that may end without an acknowledgement; then the message is a dead letter."""

    max_attempts: Annotated[int, Meta(ge=1, le=1000)] = 10
