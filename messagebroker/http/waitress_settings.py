"""How waitress' parts are set up, each setting with its reason."""

from __future__ import annotations

import logging
import sys
from typing import Any

from waitress.adjustments import Adjustments as WaitressAdjustments
from waitress.buffers import ReadOnlyFileBasedBuffer

from messagebroker.settings import Settings

log = logging.getLogger(__name__)


class Adjustments(WaitressAdjustments):  # type: ignore[misc]
    """waitress' settings and the limit of a body, which waitress would apply to chunked ones with their framing."""

    max_body: int


def adjustments(settings: Settings, body: int) -> Adjustments:
    """For what waitress' channel, parser and tasks read; sockets and loop are ours, with limits of their own.

    Of waitress' defaults, `connection_limit` (100) and `channel_timeout` (any byte counts as activity) are among
    what does not apply: see `limits`.
    """
    made = Adjustments(
        ident=None,  # no Server field: what software this is, is nobody's business
        max_request_header_size=settings.max_header_bytes,
        max_request_body_size=2 * body + 4096,  # bytes on the wire (1 GiB by default); `Parser` counts the body's own
        channel_request_lookahead=0,  # nothing more is read while a request runs: back pressure through TCP
        log_socket_errors=True,  # or an OSError of the application would vanish, and its request with it
        clear_untrusted_proxy_headers=False,  # X-Forwarded-For is judged by the application, which knows the peer
    )
    made.max_body = body
    return made


def environ(name: str, port: int) -> dict[str, Any]:
    """What is the same in the WSGI environ of every request."""
    return {
        "SERVER_NAME": name,
        "SERVER_PORT": str(port),
        "SERVER_SOFTWARE": "messagebroker",
        "SCRIPT_NAME": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.errors": sys.stderr if sys.stderr is not None else _Log(),  # a Windows service has none
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": ReadOnlyFileBasedBuffer,
        "wsgi.input_terminated": True,
    }


class _Log:
    """`wsgi.errors` that ends in the log."""

    def write(self, text: str) -> None:
        """Logs what is not blank."""
        if text.strip():
            log.error("%s", text.rstrip())

    def flush(self) -> None:
        """Nothing is held back."""
