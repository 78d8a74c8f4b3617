"""Where settings come from: the environment, NAME_FILE, `.env` here, `.env` in DATA_DIR; strongest first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

Errors = list[tuple[str, str]]
"""(variable, what is wrong with it)"""


def merged(environ: Mapping[str, str], names: Collection[str], default_data_dir: Path, errors: Errors) -> dict[str, str]:
    """One value for each of the variables `names` that some source gives; what cannot be read goes to `errors`."""
    environment = {key.upper(): value for key, value in environ.items()}
    here = _dotenv(Path(".env"), errors)
    data_dir = Path(environment.get("DATA_DIR") or here.get("DATA_DIR") or default_data_dir)
    there = _dotenv(data_dir / ".env", errors)
    values: dict[str, str] = {}
    for layer in (there, here, environment):  # weakest first
        given = {name: layer[name] for name in names if name in layer}
        given |= _from_files(layer, names, errors)
        values |= given
    if values.get("DATA_DIR") == "":  # would be the current folder, of all places
        del values["DATA_DIR"]
    return values


def _dotenv(path: Path, errors: Errors) -> dict[str, str]:
    try:
        found = dotenv_values(path, encoding="utf-8", interpolate=False)  # a `$` in a password is a `$`
    except (OSError, UnicodeDecodeError) as error:
        errors.append((str(path), f"cannot be read: {_why(error)}"))
        return {}
    return {key.upper(): value for key, value in found.items() if value is not None}


def _from_files(layer: Mapping[str, str], names: Collection[str], errors: Errors) -> dict[str, str]:
    found = {}
    for name in names:
        pointer = layer.get(f"{name}_FILE")
        if not pointer:
            continue
        if layer.get(name):
            errors.append((f"{name}_FILE", f"is set beside {name}; keep one of the two"))
            continue
        try:
            found[name] = Path(pointer).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            errors.append((f"{name}_FILE", f"cannot read {pointer}: {_why(error)}"))
    return found


def _why(error: OSError | UnicodeDecodeError) -> str:
    return "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error.strerror)


def in_words(kind: str, message: str, limits: Mapping[str, Any]) -> str:
    """What pydantic found wrong with a value, for somebody who never heard of pydantic."""
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in _LIMITS:
        word, name = _LIMITS[kind]
        return f"must be {word} {limits[name]:g}"
    if kind == "literal_error":
        return f"must be {limits['expected']}"
    for beginning, text in _KINDS.items():
        if kind.startswith(beginning):
            return f"must be {text}"
    return message


_LIMITS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "path": "a path", "string": "text in UTF-8"}
"""Beginnings of pydantic's names for errors -> what the value must be."""
