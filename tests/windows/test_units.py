"""The quick tests as a Windows Python sees them; what is left out is listed with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from support.tiers import tried_again
from support.windows import REPOSITORY, Running
from support.windows_units import LEFT_OUT

FLOOR = 2000


@pytest.mark.timeout(580)
@pytest.mark.flaky(reruns=0)  # it looks at a run of the whole session, each test of which had its tries there
def test_the_quick_tests_pass_on_windows(
    unit_run: Running, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = unit_run.wait(480)
    said = ended.out
    for name, why in tried_again(said):
        record_property("tried_again", name)
        with capsys.disabled():
            print(f"\ntried again on Windows: {name}\n{why}")
    assert ended.code == 0, said[-6000:]
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
