"""What a command does, the audit log tells of: by which account, and that it was the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import messagebroker.cli
from messagebroker.cli import actor


def test_it_is_the_account_and_not_what_somebody_calls_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    found = actor.this_user().name
    assert found.startswith("cli:")
    assert len(found) > len("cli:")
    assert found != "cli:somebody-else"


def test_no_command_has_an_actor_of_its_own() -> None:
    folder = Path(messagebroker.cli.__file__).parent
    others = {path.name for path in folder.glob("*.py") if 'f"cli:' in path.read_text(encoding="utf-8")}
    assert others == {"actor.py"}


def test_an_account_that_has_only_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers."""
    monkeypatch.setattr(actor.os, "getuid", lambda: 4_000_000_001)
    assert actor.this_user().name == "cli:uid-4000000001"
