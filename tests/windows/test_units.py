"""The quick tests as a Windows Python sees them; what is left out is listed with its reason."""

from __future__ import annotations

import re
import subprocess

from support.windows import REPOSITORY
from support.windows_units import LEFT_OUT

FLOOR = 1500


def test_the_quick_tests_pass_on_windows(unit_run: subprocess.Popen[bytes]) -> None:
    said = unit_run.communicate(timeout=280)[0].decode("utf-8", "replace").replace("\r\n", "\n")
    assert unit_run.returncode == 0, said[-6000:]
    counted = re.search(r"(\d+) passed", said)
    assert counted is not None
    assert int(counted[1]) >= FLOOR, said[-300:]
    skipped = re.search(r"(\d+) skipped", said)
    assert skipped is None, said[-3000:]


def test_what_is_left_out_exists() -> None:
    for name in LEFT_OUT:
        file, _, function = name.partition("::")
        text = (REPOSITORY / file).read_text(encoding="utf-8")
        assert f"def {function}(" in text if function else "def test_" in text, name
