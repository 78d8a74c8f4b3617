"""A sender's certificate, and both clients under one interface."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certs import Authority

from messagebroker.client import ApiClient, AsyncApiClient, AsyncMessageBroker, MessageBroker


class Awaited:
    """An async client with its methods called to the end."""

    def __init__(self, client: Any, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA's folder with a proxy, a main and the sender `till-7`."""
    authority = Authority(tmp_path_factory.mktemp("certs"))
    authority.component("proxy")
    authority.component("main")
    authority.client("till-7")
    return authority.folder


Connect = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, certs: Path) -> Iterator[Connect]:
    """Makes the sender's client for a URL, once sync and once async; `api=True` makes main's."""
    closing: list[Any] = []
    files = {"cert": certs / "till-7.crt", "key": certs / "till-7.key", "ca": certs / "ca.crt"}
    with asyncio.Runner() as runner:

        def make(url: str, *, api: bool = False, **options: Any) -> Any:
            kinds = (ApiClient, AsyncApiClient) if api else (MessageBroker, AsyncMessageBroker)
            client: Any = kinds[request.param == "async"](url, **{**files, **options})
            closing.append(client if request.param == "sync" else Awaited(client, runner))
            return closing[-1]

        yield make
        for client in closing:
            client.close()
