"""`messagebroker run ROLE`: one role in this process, until it is told to stop."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import structlog
import typer

from messagebroker import roles
from messagebroker.errors import BrokerError, ConfigurationError, Unavailable
from messagebroker.ops import logs, ports
from messagebroker.ops.stopping import stop_event
from messagebroker.settings import WITH_DATABASE, Settings, load

DATABASE_RETRY_SECONDS = 1.0


def run(
    role: Annotated[str, typer.Argument(help=f"One of {', '.join(roles.NAMES)}.")],
    supervised: Annotated[
        bool, typer.Option("--supervised", help="Stop when standard input ends; log to the file only.", hidden=True)
    ] = False,
) -> None:
    """Run one role until SIGINT, SIGTERM or (Windows) Ctrl-Break.

    Example: messagebroker run proxy
    """
    if role not in roles.BY_NAME:
        raise typer.BadParameter(f"{role} is no role; there are {', '.join(roles.NAMES)}")
    settings = load(role=role)
    logs.configure(settings, role, console=not supervised)
    stop = stop_event(watch_stdin=supervised)
    log = structlog.get_logger("messagebroker.run")
    try:
        serve(role, settings, stop)
    except BrokerError as error:
        log.error("role refused to run", role=role, error=str(error))
        error.told = logs.shows_errors()
        raise
    except Exception:
        log.exception("role ended by an error", role=role)
        if logs.shows_errors():
            raise typer.Exit(1) from None
        raise


def serve(role: str, settings: Settings, stop: threading.Event) -> None:
    """What `run` and the Windows services do: check the ground, then serve until `stop` is set."""
    log = structlog.get_logger("messagebroker.run")
    refuse_secrets_of_others(role, settings)
    if role in WITH_DATABASE and not _schema_is_current(settings, stop):
        return
    ports.require_free(settings, [roles.BY_NAME[role]])
    log.info("role starts", role=role)
    run_role = entry(role)
    _calm_the_collector()
    run_role(settings, stop)
    log.info("role stopped", role=role)


def entry(role: str) -> Callable[[Settings, threading.Event], Any]:
    """The function that serves a role, imported now: a proxy's process never loads the portal."""
    module, _, name = roles.BY_NAME[role].entry.partition(":")
    function: Callable[[Settings, threading.Event], Any] = getattr(import_module(module), name)
    return function


def _calm_the_collector() -> None:
    """What is loaded by now stays, so the garbage collector need not look at it again, and cycles are rare here.

    With Python's own thresholds a tenth of a proxy's processor time went into looking for some.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def refuse_secrets_of_others(role: str, settings: Settings) -> None:
    """In production, roles that face the network must not hold what they do not need.

    Raises:
        ConfigurationError: the proxy or the portal can read DATABASE_URL or the private master key.
    """
    if settings.environment != "production" or role in WITH_DATABASE:
        return
    problems = []
    if settings.database_url is not None:
        problems.append(f"DATABASE_URL is set for the {role}; give it to main, worker and scheduler only")
    key = settings.path(settings.encryption_key_path)
    if os.access(key, os.R_OK):
        problems.append(f"the {role} can read the private master key {key}; run it as an account that cannot")
    if problems:
        raise ConfigurationError("; ".join(problems))


def _schema_is_current(settings: Settings, stop: threading.Event) -> bool:
    """Waits for a database that is still starting (after a power cut everything starts at once); False: stop came first."""
    from messagebroker.db import schema  # a proxy's and a portal's process never load the database's libraries for this
    from messagebroker.db.connection import open_database

    log = structlog.get_logger("messagebroker.run")
    open_database(settings)
    told = False
    while not stop.is_set():
        try:
            schema.require_current()
        except Unavailable as error:
            if not told:
                log.warning("waiting for the database", error=str(error))
            told = True
            stop.wait(DATABASE_RETRY_SECONDS)
        else:
            return True
    return False
