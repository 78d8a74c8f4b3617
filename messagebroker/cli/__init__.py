"""The command line: a thin file per group of commands, imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer

from messagebroker.ops import owner

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("messagebroker.cli.up:up", "Start the whole system here; the first time, set everything up."),
    "smoke": ("messagebroker.cli.smoke:smoke", "Check a running installation from outside, with a message."),
    "doctor": ("messagebroker.cli.doctor:doctor", "Find what is misconfigured, and say what to do."),
    "setup": (
        "messagebroker.cli.setup:app",
        "Make or heal an installation: secrets, certificates, database, homes of the roles.",
    ),
    "health": (
        "messagebroker.cli.health:health",
        "Whether roles on this machine are ready; what is missing when they are not.",
    ),
    "run": ("messagebroker.cli.run:run", "Run one role: main, proxy, worker, scheduler or portal."),
    "services": ("messagebroker.cli.services:app", "The roles as services: Windows services, systemd, Compose."),
    "db": ("messagebroker.cli.db:app", "The database's schema."),
    "certs": ("messagebroker.cli.certs:app", "The certificate authority and its certificates."),
    "clients": ("messagebroker.cli.clients:app", "Registered senders: owners, topics, limits."),
    "users": ("messagebroker.cli.users:app", "People who log in."),
    "groups": ("messagebroker.cli.groups:app", "Groups of people, and what they may read."),
    "subscriptions": ("messagebroker.cli.subscriptions:app", "Who gets which messages, by which channel."),
    "webhooks": ("messagebroker.cli.webhooks:app", "How webhooks do; testing, sending again, secrets, allowed networks."),
    "topics": ("messagebroker.cli.topics:app", "The catalogue of topics: schemas, what is deprecated."),
    "email": ("messagebroker.cli.email:app", "E-mail that the system sent: what came back."),
    "breakers": ("messagebroker.cli.breakers:app", "Destinations that fail, and get nothing for a while."),
    "queue": ("messagebroker.cli.queue:app", "What waits, what runs and what could not be; pausing, draining, purging."),
    "workers": ("messagebroker.cli.workers:app", "The processes that store and deliver, and how much they do at once."),
    "dead-letters": ("messagebroker.cli.dead_letters:app", "Failed deliveries: see, retry, purge."),
    "messages": ("messagebroker.cli.messages:app", "What happened to a message."),
    "keys": ("messagebroker.cli.keys:app", "The master keys that messages are sealed to."),
    "backup": ("messagebroker.cli.backup:app", "Backups and bringing them back."),
    "audit": ("messagebroker.cli.audit:app", "Who did what; proving that the log is as it was written."),
    "cleanup": ("messagebroker.cli.cleanup:cleanup", "Remove messages that are older than the retention."),
    "old": ("messagebroker.cli.old:old", "What the runbooks' old commands are now; does it."),
    "windows": ("messagebroker.cli.windows:app", "A Windows server: install, upgrade, uninstall, firewall."),
    "version": ("messagebroker.cli.version:version", "The program's version."),
}
"""Name -> where it lives, and its line in `messagebroker --help`."""

SILENT = ("health", "version")
"""These log nothing, and `health` is asked every few seconds: they do without the logging libraries."""

AS_CALLED = ("services", "setup", "up", "run", "old", "windows", *SILENT)
"""These keep root's rights when root calls them: they make accounts and units, or are started as the account they need."""


def build(words: list[str]) -> typer.Typer:
    """The program for one command line: the commands that `words` name for real, one line of help for the others."""
    root = typer.Typer(
        help="Takes messages in over mutual TLS, loses none, stores them encrypted and delivers them.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, (place, summary) in COMMANDS.items():
        if name in words[:1]:
            _add(root, name, place, summary)
        else:
            root.command(name, help=summary)(_not_asked_for)
    return root


def _add(root: typer.Typer, name: str, place: str, summary: str) -> None:
    if name not in AS_CALLED:
        owner.act_as_owner()
    if name not in SILENT:
        from messagebroker.ops import logs  # not for --help, which should be quick

        logs.for_commands()
    module, _, attribute = place.partition(":")
    found: Any = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer) and found.info.invoke_without_command is True:
        root.add_typer(found, name=name)  # a command that has others below it: `setup`, `setup servers`
    elif isinstance(found, typer.Typer):
        root.add_typer(found, name=name, help=summary, no_args_is_help=True)
    else:
        command: Callable[..., Any] = found
        root.command(name, context_settings=getattr(import_module(module), "RAW", None))(command)


def _not_asked_for() -> None:
    raise AssertionError("only its line of help is wanted")
