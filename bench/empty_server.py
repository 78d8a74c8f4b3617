"""The same server with an application that does nothing: the ceilings of single submits.

python -m bench.empty_server DATA_DIR PORT bare|falcon
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import falcon

from messagebroker.http.server import Server
from messagebroker.ops.stopping import stop_event
from messagebroker.settings import load


def bare(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """202 to everything."""
    del environ
    start_response("202 Accepted", [("Content-Length", "0")])
    return [b""]


class Nothing:
    """A Falcon resource that does nothing."""

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """202."""
        del request
        response.status = falcon.HTTP_202


def with_falcon() -> Any:
    """An application with that one resource."""
    app = falcon.App()
    app.add_route("/", Nothing())
    return app


if __name__ == "__main__":
    settings = load(data_dir=Path(sys.argv[1]), environment="test")
    server = Server(
        bare if sys.argv[3] == "bare" else with_falcon(),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        role="proxy",
        settings=settings,
        threads=settings.proxy_threads,
    )
    server.run(stop_event(watch_stdin=True))
