"""What may be said of a topic: each field checked, so that the policy never carries what a proxy cannot use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messagebroker.errors import Refused
from messagebroker.ops import schemas
from messagebroker.ops.fields import WrongField

FIELDS = ("description", "schema", "deprecated", "must_route")
"""Those that people set. `name` is for ever."""

LONGEST_DESCRIPTION = 1000


def checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values as they are kept: a schema as text.

    Raises:
        WrongField: a value will not do.
    """
    for field in changes:
        if field not in FIELDS:
            raise WrongField(field, f"cannot be set; what can is {', '.join(FIELDS)}")
    return {field: _CHECKS[field](field, value) for field, value in changes.items()}


def _description(field: str, value: Any) -> str:
    text = value.strip() if isinstance(value, str) else None
    if text is None or len(text) > LONGEST_DESCRIPTION or not text.replace("\n", "").isprintable():
        raise WrongField(field, f"is a text of up to {LONGEST_DESCRIPTION} printable characters")
    return text


def _schema(field: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise WrongField(field, "is a JSON Schema, which is a JSON object, or null for none")
    try:
        return schemas.checked(value)
    except Refused as error:
        raise WrongField(field, str(error)) from None


def _flag(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongField(field, "is true or false")
    return value


_CHECKS = {"description": _description, "schema": _schema, "deprecated": _flag, "must_route": _flag}
