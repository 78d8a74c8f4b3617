"""Doctor: the settings themselves. Values were checked when they were loaded; what is left are names and files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from messagebroker.ops.findings import Finding, Findings
from messagebroker.ops.private_files import is_private
from messagebroker.settings import Settings

_findings = Findings("settings")
_FOREIGN = re.compile(r"COMPOSE_|MYSQL_|MARIADB_|TZ$|PYTHON|PATH$")  # other programs read the same file
_SECRET = re.compile(r"^\s*(JWT_SECRET|DATABASE_URL|REDIS_URL|REDIS_PASSWORD)\s*=\s*\S", re.MULTILINE)


def check(settings: Settings) -> Iterator[Finding]:
    """Names in .env files that nobody reads, and who may read the files."""
    yield _findings.ok(f"environment {settings.environment}, data in {settings.data_dir.absolute()}")
    for path in dict.fromkeys((Path(".env").absolute(), settings.path(Path(".env")))):
        if path.is_file():
            yield from _env_file(path)


def _env_file(path: Path) -> Iterator[Finding]:
    text = path.read_text(encoding="utf-8", errors="replace")
    for name in re.findall(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", text, re.MULTILINE):
        if not _is_known(name) and not _FOREIGN.match(name.upper()):
            guess = difflib.get_close_matches(name.upper(), [field.upper() for field in Settings.model_fields], 1)
            yield _findings.warning(
                f"{name} in {path} is no setting, so it does nothing",
                f"did you mean {guess[0]}?" if guess else "remove the line",
            )
    if _SECRET.search(text) and not is_private(path):
        yield _findings.error(f"{path} holds secrets and others on this machine may read it", f"chmod 600 {path}")


def _is_known(name: str) -> bool:
    return name.upper().removesuffix("_FILE").lower() in Settings.model_fields
