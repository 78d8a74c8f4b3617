"""The same server with an application that does nothing: the ceiling of single submits.

python -m bench.empty_server DATA_DIR PORT
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from messagebroker.http.server import Server

from messagebroker.ops.stopping import stop_event
from messagebroker.settings import load


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """202 to everything."""
    del environ
    start_response("202 Accepted", [("Content-Length", "0")])
    return [b""]


if __name__ == "__main__":
    settings = load(data_dir=Path(sys.argv[1]), environment="test")
    server = Server(
        application, host="127.0.0.1", port=int(sys.argv[2]), role="proxy", settings=settings, threads=settings.proxy_threads
    )
    server.run(stop_event(watch_stdin=True))
