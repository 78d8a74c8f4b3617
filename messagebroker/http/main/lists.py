"""What every list has in common: how much of it, and from where on."""

from __future__ import annotations

from typing import Annotated

import msgspec

Limit = Annotated[int, msgspec.Meta(ge=1, le=200)]
Cursor = Annotated[str, msgspec.Meta(min_length=1, max_length=300, pattern=r"^[A-Za-z0-9_-]+$(?!\n)")]
"""Where a list goes on. Names, of up to 200 characters, make the longest."""
