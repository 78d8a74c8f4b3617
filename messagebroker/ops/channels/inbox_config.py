"""What people say of deliveries to inboxes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from messagebroker.ops.names import EMAIL


class InboxConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's address, or a group's number: then everybody who is in it when a message comes."""

    user: Annotated[str, Meta(pattern=EMAIL)] | None = None
    group: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None

    def __post_init__(self) -> None:
        if (self.user is None) == (self.group is None):
            raise ValueError("give either user or group")
