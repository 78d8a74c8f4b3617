"""`messagebroker …` and `python -m messagebroker …`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from messagebroker.errors import BrokerError, ConfigurationError, Unavailable

FAILED, CONFIGURATION, TEMPORARY, INTERRUPTED = 1, 3, 4, 130
"""Exit codes beside 0 (done) and 2 (wrong usage, from the command line's parser)."""

_M_ARENA_MAX = -8  # of malloc.h


def main() -> None:
    """Runs the command line; errors leave as one sentence on stderr and an exit code."""
    _speak_utf8()
    if sys.argv[1:2] == ["run"]:
        _keep_small()
    from messagebroker.cli import build  # after the streams: its import takes a moment

    try:
        build(sys.argv[1:])(prog_name="messagebroker")
    except BrokerError as error:
        if not error.told:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output (`| head`) has gone
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the interpreter's last flush
        sys.exit(FAILED)


def exit_code(error: BrokerError) -> int:
    """What scripts can tell apart: a wrong configuration, something that may pass, anything else."""
    if isinstance(error, ConfigurationError):
        return CONFIGURATION
    return TEMPORARY if isinstance(error, Unavailable) else FAILED


def _keep_small() -> None:
    """For processes that stay: structlog would load rich, 4 MB for tracebacks that no log of ours draws.

    And glibc keeps free memory apart for each of many threads, up to eight heaps a core; two in all are a megabyte less.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError):  # another C library has no such call, and needs none
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    sys.modules["rich"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]


def _speak_utf8() -> None:
    for stream in (sys.stdout, sys.stderr):  # None in a Windows service; cp1252 in a Windows pipe
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    main()
