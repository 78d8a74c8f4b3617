"""What is wrong with input, as a problem that names the field. Only ever runs for input that is refused or suspicious."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from messagebroker.http.problems import Problem
from messagebroker.ops.validation import explain

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON that was asked for."""

NUL_ESCAPE = b"\\u0000"
"""The only way a NUL gets into a JSON string; without these bytes in a request no string of it has one."""

_MEMBERS = ("type", "title", "status", "detail", "field")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_HINTS = {
    "priority": "critical, high, normal or low",
    "deliver_at": "an existing date and time with offset, such as 2030-01-31T08:00:00Z",
    "expires_at": "an existing date and time with offset, such as 2030-01-31T08:00:00Z",
    "time": "an existing date and time with offset, such as 2030-01-31T08:00:00Z",
    "messages": 'a batch goes to /api/v1/messages/batch as {"messages": [...]}',
}


def invalid(field: str, detail: str) -> Problem:
    """The 422 for one field."""
    return Problem(422, "invalid-field", f"{field}: {detail}", field=field)


def undecodable(raw: bytes, error: Exception) -> Problem:
    """The problem behind one of UNDECODABLE."""
    if isinstance(error, msgspec.ValidationError):
        detail, field = explain(error)
        hint = _HINTS.get((field or "").rpartition(".")[2])
        text = f"{detail} ({hint})" if hint else detail
        return Problem(422, "invalid-field", f"{field}: {text}" if field else text, field=field)
    if isinstance(error, RecursionError):
        return Problem(400, "invalid-json", "the body is nested too deep")
    if _SURROGATE_ESCAPE.search(raw):
        field = _field_with(raw, _is_lone_surrogate)
        if field is not None:
            return invalid(field, "holds half of a surrogate pair, which is no character")
    return Problem(400, "invalid-json", f"the body is not JSON in UTF-8: {error}")


def in_words_of(draft: Any, problem: Problem) -> Problem:
    """The problem, with the field under the name that the sender's format has for it."""
    field = problem.document.get("field")
    called = draft.called
    if field is None or not called:
        return problem
    known = next((name for name in called if field == name or field.startswith((f"{name}.", f"{name}["))), None)
    if known is None:
        return problem
    renamed = (called[known] + field[len(known) :]).lstrip(".")
    detail = problem.document["detail"]
    if detail.startswith(f"{field}:"):
        detail = renamed + detail[len(field) :]
    further = {name: value for name, value in problem.document.items() if name not in _MEMBERS}
    return Problem(
        problem.document["status"], problem.name, detail, field=renamed, headers=dict(problem.headers or {}), **further
    )


def refuse_nul(draft: Any, names: tuple[str, ...]) -> None:
    """Raises the problem for a NUL in any of the draft's named parts."""
    for name in names:
        path = find(getattr(draft, name), lambda text: "\0" in text, name)
        if path is not None:
            raise invalid(path, "holds a NUL character")


def find(value: Any, wrong: Callable[[str], bool], path: str = "") -> str | None:
    """The path of the first string, key or value, that is `wrong`."""
    if isinstance(value, str):
        return path if wrong(value) else None
    if isinstance(value, dict):
        for key, inner in value.items():
            below = f"{path}.{key}" if path else str(key)
            if wrong(str(key)):
                return path or "a name in the body"
            found = find(inner, wrong, below)
            if found is not None:
                return found
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found = find(inner, wrong, f"{path}[{index}]")
            if found is not None:
                return found
    return None


def _is_lone_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _field_with(raw: bytes, wrong: Callable[[str], bool]) -> str | None:
    return find(lenient(raw), wrong)


def lenient(raw: bytes, member: str | None = None) -> Any:
    """JSON with lone surrogates in it, which only Python's own reader lets through, so that they can be named.

    None for anything else that msgspec refused; `member`: that member of an object that has no other.
    """
    if not _SURROGATE_ESCAPE.search(raw):
        return None
    try:
        found = json.loads(raw.decode("utf-8", "surrogatepass"))  # of bytes it would also take UTF-16, and a BOM
    except (ValueError, RecursionError):
        return None
    if member is None:
        return found
    return found[member] if isinstance(found, dict) and found.keys() == {member} else None


def parted(items: Any) -> list[bytes]:
    """Each item of a list that `lenient` read as JSON of its own; empty when it is no list."""
    return [json.dumps(item).encode() for item in items] if isinstance(items, list) else []
