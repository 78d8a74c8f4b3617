"""A call as a method of both clients: it answers at once on the one for threads, and is awaited on the one for asyncio."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from messagebroker.client.calls import Call
from messagebroker.client.transport import AsyncTransport, Transport

P = ParamSpec("P")
T = TypeVar("T")


class Method(Generic[P, T]):
    """Runs the call that `build` makes of the method's arguments."""

    def __init__(self, build: Callable[P, Call[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, kind: type[Any]) -> Self: ...
    @overload
    def __get__(self, client: Transport, kind: type[Any]) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncTransport, kind: type[Any]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Transport | AsyncTransport | None, kind: type[Any]) -> Any:
        """The method of one client."""
        if client is None:
            return self

        @wraps(self._build)
        def run(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.run(self._build(*args, **kwargs))

        return run
