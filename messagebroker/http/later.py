"""Requests that are answered later, by another thread: nobody waits for a group commit.

A thread that blocks costs little, but thirty that are woken together fight over the interpreter: with a thread waiting
in every request, a submit cost a hundred microseconds more. So a resource takes a `Later` from its environ, sees to it
that somebody answers through it, and leaves the application by raising `Deferred`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from messagebroker.http.channel import Channel

DEFER = "messagebroker.defer"
"""In the environ: called without arguments, it gives the request's `Later`."""

_LARGEST_AT_ONCE = 512 * 1024
Reply = tuple[str, list[tuple[str, str]], bytes]
"""Status line, headers and body."""


class Deferred(BaseException):
    """Ends the application's part of a request without an answer. Not an error, so that no error handler stops it."""


class Later:
    """The right, and the duty, to answer one request."""

    __slots__ = ("_channel", "_request")

    def __init__(self, channel: Channel, request: Any) -> None:
        self._channel = channel
        self._request = request

    def watch(self) -> None:
        """From now on it is noticed when the peer leaves; otherwise nobody reads while a request is in hand."""
        self._channel.watch_for_end()

    @property
    def is_there(self) -> bool:
        """False once the connection is closed; its request is still to be answered, which then costs nothing."""
        return self._channel.is_open()

    def answer(self, reply: Reply) -> None:
        """Sends it, from any thread. A peer that does not take what it was sent before is left to the server's own threads."""
        self._request.reply = reply
        channel = self._channel
        channel.watches_for_end = False
        if channel.secure.unsent or len(reply[2]) > _LARGEST_AT_ONCE:
            channel.server.add_task(channel)
        else:
            channel.service()
