"""`.env` files that people and the program both write: values are put in place, every other line stays as it is."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from messagebroker.errors import ConfigurationError

_NEEDS_QUOTES = re.compile(r"^[\s'\"#]|\s$|\s#|[\r\n]")


def line(name: str, value: str) -> str:
    """`NAME=value`, quoted where it must be.

    Raises:
        ConfigurationError: no way of writing it is read back as it was (a quoted value that ends in a backslash).
    """
    quoted = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    text = f"{name}={quoted if _NEEDS_QUOTES.search(value) else value}\n"
    after = "AFTER='x'\n"
    if dotenv_values(stream=io.StringIO(text + after), interpolate=False) != {name: value, "AFTER": "x"}:
        raise ConfigurationError(f"{name} cannot be written into an .env file; take a value without blanks and quotes")
    return text


def read(path: Path) -> str:
    """The file's text, empty when there is none.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def names(text: str) -> set[str]:
    """The variables that a text sets."""
    return {binding.key.upper() for binding in _bindings(text) if binding.key}


def changed(text: str, values: Mapping[str, str], *, without: Collection[str] = ()) -> str:
    """`text` with each of `values` in the place where it was, or at the end, and with none of `without`."""
    left = dict(values)
    parts = []
    for binding in _bindings(text):
        name = (binding.key or "").upper()
        if name in left:
            parts.append(_lead(binding) + line(name, left.pop(name)))
        elif name in values or name in without:
            parts.append(_lead(binding))
        else:
            parts.append(binding.original.string)
    body = "".join(parts)
    if left and body and not body.endswith("\n"):
        body += "\n"
    return body + "".join(line(name, value) for name, value in left.items())


def _bindings(text: str) -> list[Binding]:
    return list(parse_stream(io.StringIO(text)))


def _lead(binding: Binding) -> str:
    """The blank lines that the parser counts to the line after them."""
    string = binding.original.string
    return string[: len(string) - len(string.lstrip("\r\n"))]
