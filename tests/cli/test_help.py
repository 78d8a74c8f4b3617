"""Every command that steers deliveries says in its help how it is called."""

from __future__ import annotations

from importlib import import_module

import pytest
import typer
from typer.core import TyperGroup

from messagebroker.cli import COMMANDS


@pytest.mark.parametrize(
    "group", ["topics", "subscriptions", "webhooks", "dead-letters", "breakers", "queue", "workers", "email"]
)
def test_the_help_of_each_command_has_an_example_of_it(group: str) -> None:
    module, _, attribute = COMMANDS[group][0].partition(":")
    found = typer.main.get_command(getattr(import_module(module), attribute))
    assert isinstance(found, TyperGroup)
    assert found.commands
    without = [name for name, one in found.commands.items() if f"Example: messagebroker {group} {name}" not in (one.help or "")]
    assert without == []
