"""What people say of deliveries by e-mail, and when the first e-mail is due."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from messagebroker.errors import Refused

ADDRESS = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,187}[A-Za-z0-9])?$(?!\n)"
"""Addresses that are the same in headers and in commands, without quotes: nothing in them can end one."""
LONGEST_TEMPLATE = 50_000
"""Characters."""

Address = Annotated[str, Meta(pattern=ADDRESS)]
Source = Annotated[str, Meta(min_length=1, max_length=LONGEST_TEMPLATE)]


class EmailConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to write to, and what. Templates left out: the channel's own; with a `text` and no `html`, there is no HTML part.

    `digest_minutes`: messages are gathered, and leave together at the end of each such span of the day (UTC); 0: at once.
    """

    to: Annotated[list[Address], Meta(min_length=1, max_length=50)]
    subject: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    text: Source | None = None
    html: Source | None = None
    digest_minutes: Annotated[int, Meta(ge=0, le=24 * 60)] = 0

    def __post_init__(self) -> None:
        if len({address.lower() for address in self.to}) < len(self.to):
            raise ValueError("to names an address twice")
        for name in ("subject", "text", "html"):
            source = getattr(self, name)
            if source is not None:
                _check(name, source)


def _check(name: str, source: str) -> None:
    from messagebroker.ops.channels import email_templates  # Jinja, for those only who have templates

    try:
        email_templates.check(source, html=name == "html")
    except Refused as error:
        raise ValueError(f"{name}: {error}") from None


def first_due(config: EmailConfig, moment: int) -> int | None:
    """When a delivery that is routed at `moment` is due first: at once (None), or at the end of the digest's span.

    Both in microseconds since 1970, with which the spans begin: those of 15, 60 and 1440 minutes end with quarters, hours and
    days in UTC. What is due at the same moment for one subscription is claimed together, and becomes one e-mail.
    """
    if config.digest_minutes == 0:
        return None
    span = config.digest_minutes * 60_000_000
    return (moment // span + 1) * span
