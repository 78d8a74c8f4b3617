from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.servers import free_port

from messagebroker.errors import Conflict
from messagebroker.ops import ports
from messagebroker.ops.services.windows_units import HOST_MODULE
from messagebroker.settings import load


def test_a_taken_port_is_named_with_its_holder_and_the_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        settings = load(
            {},
            data_dir=tmp_path,
            proxy_port=port,
            main_server_port=free_port(),
            portal_port=free_port(),
            metrics_port=free_port(),
        )
        with pytest.raises(Conflict) as caught:
            ports.require_free(settings)
        assert f"port {port} of proxy is taken by" in str(caught.value)
        assert f"(pid {os.getpid()})" in str(caught.value)
        assert "PROXY_PORT" in str(caught.value)
    ports.require_free(settings)


def test_a_host_that_is_none_of_this_machine_is_no_taken_port() -> None:
    assert not ports.is_taken("192.0.2.1", 1)


def test_a_free_port_has_no_holder() -> None:
    assert ports.holder(free_port()) is None


LISTENS = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"


@pytest.mark.parametrize("called", ["messagebroker", "-m messagebroker", f"-m {HOST_MODULE}", "-m another.messagebroker"])
def test_a_role_is_known_however_it_was_started(tmp_path: Path, called: str) -> None:
    """The console script has its path in the command line, `python -m` the package's name."""
    if called.startswith("-m "):
        words = [sys.executable, "-c", LISTENS, *called.split()]
    else:
        script = tmp_path / called
        script.write_text(LISTENS, encoding="utf-8")
        words = [sys.executable, str(script)]
    with subprocess.Popen([*words, "run", "portal"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        found = ports.holder(int(process.stdout.readline()))
    assert found is not None
    assert str(found).endswith(f"(pid {process.pid})")
    assert (str(found).startswith("messagebroker run portal ")) == (called != "-m another.messagebroker")
