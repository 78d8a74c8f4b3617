"""The sockets that a server listens on."""

from __future__ import annotations

import os
import socket

from messagebroker.errors import ConfigurationError

BACKLOG = 1024
"""Connections that may wait to be accepted: a burst of reconnecting senders is no reason to refuse any."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Listens on every address that `host` stands for (an empty one: on all), on the same port.

    Raises:
        ConfigurationError: the name has no address, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host!r}: {error}; give an address of this machine") from error
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bound(family, (address[0], port)))
        except OSError as error:  # "localhost" may stand for ::1 too on a machine without IPv6
            failure = error
        else:
            port = sockets[0].getsockname()[1]
    if not sockets:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {failure}; `messagebroker doctor` says who holds the port"
        ) from failure
    return sockets


def _bound(family: int, address: tuple[str | int, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "nt":  # SO_REUSEADDR would let another process take the port in silence there
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" and os.name != "nt" else 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
