"""What names look like: patterns for documents, and the checks.

JSON Schema (ECMAScript) needs `$` at the end, which for Python, and so for msgspec, also matches before a last line end:
`(?!\n)` behind it refuses that, and means nothing to ECMAScript.
"""

from __future__ import annotations

import re

NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$(?!\n)"
"""Clients and components, as in `urn:messagebroker:client:NAME`."""

TOPIC = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$(?!\n)"
"""Topics: ASCII, levels parted by dots."""

E164 = r"^\+[1-9][0-9]{1,14}$(?!\n)"
"""Telephone numbers of the established JSON format."""

EMAIL = r"^[^@\s]{1,64}@[^@\s]{1,189}$(?!\n)"

is_name = re.compile(NAME).fullmatch
is_topic = re.compile(TOPIC).fullmatch
is_e164 = re.compile(E164).fullmatch
is_email = re.compile(EMAIL).fullmatch
