"""What comes in over a page's socket is checked once more: the gate sees only the address with which a socket begins.

NiceGUI takes the page's id out of every message, so that any open socket could act on any page whose id it has
seen, and receive what that page shows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from nicegui import Client
from nicegui.nicegui import sio

from messagebroker.ui.portal import SESSION

_JOINS = "handshake"  # asks to be the page's socket
_ACTS = ("event", "javascript_response", "ack", "log")  # of a page's own socket

Handler = Callable[[str, Any], Any]


def guard() -> None:
    """Once a process, after NiceGUI was imported and before it serves."""
    handlers: dict[str, Handler] = sio.handlers["/"]
    handlers[_JOINS] = _checked(handlers[_JOINS], _may_join)
    for name in _ACTS:
        handlers[name] = _checked(handlers[name], _is_joined)


def _checked(handler: Handler, may: Callable[[str, str], bool]) -> Handler:
    async def checked(sid: str, message: Any = None) -> Any:
        page_id = message.get("client_id") if isinstance(message, dict) else None
        if not isinstance(page_id, str) or not may(sid, page_id):
            return False
        answer = handler(sid, message)
        return await answer if inspect.isawaitable(answer) else answer

    return checked


def _is_joined(sid: str, page_id: str) -> bool:
    """The handshake put the socket into a room named after its page."""
    return page_id in sio.rooms(sid)


def _may_join(sid: str, page_id: str) -> bool:
    """A page's socket is of the session that loaded the page; the login page has none."""
    page = Client.instances.get(page_id)
    if page is None or page.request is None:
        return False
    owner = page.request.scope.get(SESSION)
    return owner is None or owner is sio.get_environ(sid)["asgi.scope"].get(SESSION)
