from __future__ import annotations

import shlex
from pathlib import Path

from messagebroker.cli.up import _curl
from messagebroker.settings import load


def test_the_printed_line_can_be_pasted_wherever_the_data_is(tmp_path: Path) -> None:
    certs = tmp_path / "Ada's own data" / "certs"
    words = shlex.split(_curl(load({}, data_dir=tmp_path), certs))
    assert words[:3] == ["curl", "--cacert", str(certs / "ca.crt")]
    assert words[-3:] == ["--json", '{"body": "hello"}', "https://localhost:8001/api/v1/messages"]
