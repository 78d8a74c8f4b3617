"""A Compose project that tests share, until one of them fails: it may have left it in any state, so the next gets a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Self

import pytest
from support.containers import Project
from support.tiers import FAILED


class Kept:
    """`with Kept(make) as kept:` each test asks for it with `kept.lent(request)`.

    Args:
        make: brings a project up, and takes it down in the end; called when a test asks and none is there.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Project]]) -> None:
        self._make = make
        self._end = ExitStack()
        self._project: Project | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._drop()

    @contextmanager
    def lent(self, request: pytest.FixtureRequest) -> Iterator[Project]:
        """The project, awake, for one test."""
        project = self._project = self._project or self._end.enter_context(self._make())
        try:
            project.wake()
        except BaseException:
            self._give_up(project)
            raise
        yield project
        if request.node.stash[FAILED]:
            self._give_up(project)

    def _give_up(self, project: Project) -> None:
        """Before it goes, for whoever asks why: the logs in build/tests/, and in the report which containers were not well."""
        try:
            project.keep_logs()
            print(project.try_compose("ps", "--all").stdout)  # pytest shows it with the failure
            for container in project.unwell():
                print(project.last_words(container))
        finally:
            self._drop()

    def _drop(self) -> None:
        self._project = None
        self._end.close()
