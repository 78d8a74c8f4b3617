"""tests/support/kept.py, in a pytest of its own with projects that only count."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFTEST = """
    import itertools, sys
    from contextlib import contextmanager
    from types import SimpleNamespace
    sys.path.insert(0, {tests!r})
    import pytest
    from support.kept import Kept
    from support.tiers import *

    numbers = itertools.count(1)

    class Counted:
        def __init__(self):
            self.number = next(numbers)
            self.is_away = False
        def wake(self):
            assert self.number != 2, "it does not wake"
        def keep_logs(self):
            print("kept the logs of", self.number)
        def try_compose(self, *words):
            return SimpleNamespace(stdout="and their states")
        def unwell(self):
            return ["redis-1"]
        def last_words(self, container):
            return container + " was full"

    all_made = []

    @pytest.fixture(scope="session")
    def kept():
        @contextmanager
        def made():
            all_made.append(Counted())
            yield all_made[-1]
            all_made[-1].is_away = True
        with Kept(made) as kept:
            yield kept
        assert all(one.is_away for one in all_made)

    @pytest.fixture
    def project(kept, request):
        with kept.lent(request) as found:
            yield found
"""
TESTS = """
    import pytest

    def test_first(project):
        assert project.number == 1

    def test_same(project):
        assert project.number == 1
        assert not project.is_away

    @pytest.mark.clocked
    def test_breaks_it(project):
        assert project.number == 3

    def test_next(project):
        assert project.number == 3

    def test_fails(project):
        raise AssertionError("broken")

    def test_last(project):
        assert project.number == 4
"""


def test_who_fails_takes_the_project_along(pytester: pytest.Pytester) -> None:
    """The first try fails on the first project, the second one's does not wake, the third passes and leaves its own there."""
    pytester.makeini("[pytest]\nmarkers =\n  clocked: see tests/support/tiers.py")
    pytester.makeconftest(CONFTEST.format(tests=str(Path(__file__).parent)))
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess()
    assert result.parseoutcomes() == {"passed": 5, "failed": 1, "rerun": 2}
    said = result.stdout.str()
    assert "kept the logs of 3" in said
    assert "redis-1 was full" in said
