"""Logging of a process: JSON lines in the role's own file, the same or readable lines on stderr, secrets masked."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import MutableMapping, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

from messagebroker import roles
from messagebroker.settings import Settings

FILE_BYTES = 10 * 1024 * 1024
FILES_KEPT = 5

_SECRET_NAME = re.compile(r"pass(word|wd)?$|secret|token$|authorization|cookie|api_?key|private_?key", re.I)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^@\s/]+@")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+")


def configure(
    settings: Settings,
    role: str,
    *,
    console: bool = True,
    instance: int | None = None,
    also: Sequence[logging.Handler] = (),
) -> None:
    """Sends structlog and the standard library's logging to the role's file and, with `console`, to stderr.

    `instance` numbers the processes of one role: each has a file of its own, as Windows cannot rotate a shared one.
    `also`: further places, which get lines for people (Windows' event log).
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in _handlers(settings, role, console=console, instance=instance):
        handler.setFormatter(_formatter(shared, role, readable=_is_terminal(handler)))
        root.addHandler(handler)
    for handler in also:
        handler.setFormatter(_formatter(shared, role, readable=True, colors=False))
        root.addHandler(handler)
    root.setLevel(settings.log_level)
    for noisy in ("httpx", "httpcore", "asyncio", "urllib3", "peewee"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    threading.excepthook = _log_thread_error


def shows_errors() -> bool:
    """Whether an error that is logged now is seen on stderr, so that nobody need print it there again."""
    root = logging.getLogger()
    on_console = any(getattr(handler, "stream", None) is sys.stderr for handler in root.handlers)
    return on_console and root.isEnabledFor(logging.ERROR)


def for_commands() -> None:
    """Commands print their own answers: of the log only warnings are wanted, on stderr, away from `--json`."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, *_readable(colors=False)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _handlers(settings: Settings, role: str, *, console: bool, instance: int | None) -> list[logging.Handler]:
    handlers: list[logging.Handler] = []
    if settings.log_file_path is not None:
        folder = settings.path(settings.log_file_path)
        folder.mkdir(parents=True, exist_ok=True)
        handlers.append(
            RotatingFileHandler(
                folder / file_name(role, instance), maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=True
            )
        )
    if sys.stderr is not None and (console or not handlers):  # None in a Windows service
        handlers.append(logging.StreamHandler(sys.stderr))
    return handlers


def file_name(role: str, instance: int | None = None) -> str:
    """The log file of a role, or of one of its processes."""
    name = roles.BY_NAME[role].log_file if role in roles.BY_NAME else f"{role}.log"
    return name if instance is None else f"{Path(name).stem}-{instance}.log"


def _is_terminal(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and bool(getattr(handler.stream, "isatty", lambda: False)())


def _formatter(shared: list[Any], role: str, *, readable: bool, colors: bool = True) -> logging.Formatter:
    def add_role(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("role", role)
        return event

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            add_role,
            *((_readable() if colors else _readable(colors=False)) if readable else _json()),
        ],
    )


# Tracebacks are plain ones, without local variables: those may hold bodies of messages, keys and passwords. They become
# text before secrets are masked.


def _json() -> list[Any]:
    return [structlog.processors.format_exc_info, mask_secrets, structlog.processors.JSONRenderer(default=str)]


def _readable(**options: Any) -> list[Any]:
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback, **options)
    return [structlog.processors.format_exc_info, mask_secrets, renderer]


def mask_secrets(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last line of defence: values under names of secrets, passwords inside URLs, bearer tokens."""
    for name, value in event.items():
        if _SECRET_NAME.search(name):
            event[name] = "***"
        elif isinstance(value, str):
            event[name] = _BEARER.sub(r"\1***", _URL_PASSWORD.sub(r"\1***@", value))
    return event


def _log_thread_error(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is None:
        return
    name = arguments.thread.name if arguments.thread else "?"
    logging.getLogger("messagebroker.thread").error(
        "thread %s ended by an error", name, exc_info=(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    )
