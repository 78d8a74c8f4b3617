"""JSON Schemas of topics: what may be one, and checking bodies against it. Nothing here opens a connection or a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from messagebroker.errors import Refused
from messagebroker.ops import schema_work
from messagebroker.ops.schema_patterns import library, options

if TYPE_CHECKING:
    from jsonschema_rs import Validator

LARGEST = 16 * 1024
"""Bytes of a schema without white space: every proxy gets it with the policy, and the audit log holds it twice."""

DRAFTS = (
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema#",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-06/schema",
)
"""What `$schema` may say; without it the first."""

_SHOWN = 200  # characters of what is cited
_decode = msgspec.json.decode


@dataclass(frozen=True)
class Mismatch:
    """Why a body is not what its topic asks for. `pointer`: the place in the body, as a JSON Pointer; empty: all of it."""

    pointer: str
    why: str


class Schema:
    """A compiled schema; may be used by several threads.

    Args:
        text: as `checked` gave it.

    Raises:
        Refused: it cannot be compiled here.
    """

    def __init__(self, text: str) -> None:
        self._validator = _compiled(text, mask="the value")  # messages of errors must not carry the body along

    def mismatch(self, body: str | bytes) -> Mismatch | None:
        """What is wrong with a body first; None: nothing."""
        try:
            document = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Mismatch("", f"is not JSON, which this topic's schema asks for: {error}"[:_SHOWN])
        try:
            self._validator.validate(document)
        except library().ValidationError as error:
            return Mismatch(pointer(error.instance_path), shortened(error.message))
        except ValueError as error:  # nested deeper than the library goes
            return Mismatch("", shortened(f"cannot be checked: {error}"))
        return None


def checked(schema: dict[str, Any]) -> str:
    """The schema as it is stored: JSON without white space.

    Raises:
        Refused: it is no schema, names others by address, or checking could take too long.
    """
    try:
        text = msgspec.json.encode(schema).decode()
    except (msgspec.EncodeError, OverflowError, RecursionError, TypeError, UnicodeEncodeError) as error:
        raise Refused(f"cannot be written as JSON: {error}") from None
    if len(text.encode()) > LARGEST:
        raise Refused(f"has {len(text.encode()):,} bytes without white space; {LARGEST:,} are allowed")
    draft = schema.get("$schema", DRAFTS[0])
    if draft not in DRAFTS:
        raise Refused(f"$schema: {shortened(str(draft))!r} is not known here; leave it out, or take {DRAFTS[0]}")
    schema_work.refuse_foreign(schema)
    schema_work.refuse_costly(schema)
    _compiled(text)
    return text


def pointer(path: list[str | int]) -> str:
    """The JSON Pointer (RFC 6901) of a place."""
    return shortened("".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path))


def shortened(text: str) -> str:
    """At most 200 characters of it: senders choose what it cites, and as long as they like."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _compiled(text: str, mask: str | None = None) -> Validator:
    try:
        made: Validator = library().validator_for(
            text, validate_formats=True, offline=True, mask=mask, pattern_options=options()
        )
        return made
    except library().ValidationError as error:
        place = pointer(error.instance_path)
        raise Refused(f"{place}: {shortened(error.message)}" if place else shortened(error.message)) from None
    except (ValueError, library().ReferencingError) as error:
        raise Refused(shortened(str(error))) from None
