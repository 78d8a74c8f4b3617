"""What names look like."""

from __future__ import annotations

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
"""Clients and components, as in `urn:messagebroker:client:NAME`."""

TOPIC = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$"
"""Topics: ASCII, levels parted by dots."""

E164 = r"^\+[1-9][0-9]{1,14}$"
"""Telephone numbers of the established JSON format."""

EMAIL = r"^[^@\s]{1,64}@[^@\s]{1,189}$"
