"""A page's socket belongs to the session that loaded the page, whatever is said over it."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from support.portal import RunningPortal
from websockets.asyncio.client import ClientConnection, connect

from messagebroker.ui.gate import COOKIE

pytestmark = pytest.mark.tier("processes")


def page_of(http: httpx.Client) -> str:
    """The id of a page just loaded."""
    found = re.search(r"client_id': '([0-9a-f-]{36})'", http.get("/messages").text)
    assert found
    return found.group(1)


class Socket:
    """A web socket, one step after another in one thread: Python's TLS sockets are not for two at once."""

    def __init__(self, runner: asyncio.Runner, opened: ClientConnection) -> None:
        self._runner, self._opened = runner, opened

    def send(self, text: str) -> None:
        self._runner.run(self._opened.send(text))

    def recv(self) -> str:
        return str(self._runner.run(asyncio.wait_for(self._opened.recv(), 5)))


@contextmanager
def socket_of(portal: RunningPortal, cookie: str | None) -> Iterator[Socket]:
    """A socket that names no page in its address."""
    context = ssl.create_default_context(cafile=str(portal.folder / "certs" / "ca.crt"))
    headers = {"Origin": portal.url} | ({"Cookie": f"{COOKIE}={cookie}"} if cookie else {})
    address = f"wss://localhost:{portal.port}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    with asyncio.Runner() as runner:
        opened = runner.run(_opened(address, ssl=context, additional_headers=headers, open_timeout=5))
        try:
            socket = Socket(runner, opened)
            socket.recv()
            socket.send("40")
            assert socket.recv().startswith("40")
            yield socket
        finally:
            runner.run(opened.close())


async def _opened(address: str, **options: Any) -> ClientConnection:
    return await connect(address, **options)


def ask(opened: Socket, event: str, message: Any) -> Any:
    """What the portal answers to an event."""
    opened.send("420" + json.dumps([event, message]))
    while True:
        heard = opened.recv()
        if heard.startswith("430"):
            return json.loads(heard[3:])


def joining(page: str) -> dict[str, Any]:
    return {"client_id": page, "tab_id": "t", "old_tab_id": None, "document_id": "d", "next_message_id": 0}


def test_a_page_is_joined_by_its_own_session_only(portal: RunningPortal) -> None:
    with portal.http() as ada, portal.http() as stranger:
        portal.log_in(ada)
        portal.log_in(stranger)
        page = page_of(ada)
        for cookie in (None, stranger.cookies[COOKIE]):
            with socket_of(portal, cookie) as opened:
                assert ask(opened, "handshake", joining(page)) == [False]
        with socket_of(portal, ada.cookies[COOKIE]) as own:
            assert ask(own, "handshake", joining(page)) == [True]


@pytest.mark.parametrize("event", ["event", "javascript_response", "ack", "log"])
@pytest.mark.parametrize("message", [None, 5, [], {}, {"client_id": 5}, "page"])
def test_what_comes_over_a_socket_without_its_page_is_dropped(portal: RunningPortal, event: str, message: Any) -> None:
    with portal.http() as ada:
        portal.log_in(ada)
        page = page_of(ada)
        with socket_of(portal, None) as opened:
            told = {"client_id": page, "level": "error", "message": "forged"} if message == "page" else message
            assert ask(opened, event, told) == [False]
    assert "forged" not in portal.output()
    assert "Traceback" not in portal.output()
