"""What names look like: patterns for documents, and the checks.

Checks are `fullmatch`: `$`, which JSON Schema (ECMAScript) needs, would let Python's `match` and `search`, and msgspec,
accept a line end behind the name.
"""

from __future__ import annotations

import re

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
"""Clients and components, as in `urn:messagebroker:client:NAME`."""

TOPIC = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$"
"""Topics: ASCII, levels parted by dots."""

E164 = r"^\+[1-9][0-9]{1,14}$"
"""Telephone numbers of the established JSON format."""

EMAIL = r"^[^@\s]{1,64}@[^@\s]{1,189}$"

is_name = re.compile(NAME).fullmatch
is_topic = re.compile(TOPIC).fullmatch
is_e164 = re.compile(E164).fullmatch
is_email = re.compile(EMAIL).fullmatch
