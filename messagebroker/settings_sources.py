"""Where settings come from: the environment, NAME_FILE, `.env` here, `.env` in DATA_DIR; strongest first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

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
    return values


def _dotenv(path: Path, errors: Errors) -> dict[str, str]:
    try:
        found = dotenv_values(path, encoding="utf-8", interpolate=False)  # a `$` in a password is a `$`
    except (OSError, UnicodeDecodeError) as error:
        errors.append((str(path), f"cannot be read: {error}"))
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
            errors.append((f"{name}_FILE", f"cannot read {pointer}: {getattr(error, 'strerror', None) or error}"))
    return found
