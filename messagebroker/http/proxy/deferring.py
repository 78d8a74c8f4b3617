"""A server whose requests can be answered later, by another thread: nobody waits for a group commit.

A thread that blocks costs little, but thirty that are woken together fight over the interpreter: with a thread waiting
in every request, a submit cost a hundred microseconds more. So a resource takes a `Later` from its environ, sees to it
that somebody answers through it, and leaves the application by raising `Deferred`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel

from messagebroker.http.server import Server
from messagebroker.http.tasks import Task

if TYPE_CHECKING:
    from messagebroker.http.channel import Channel

DEFER = "messagebroker.defer"
"""In the environ: called without arguments, it gives the request's `Later`."""

_LARGEST_INLINE = 512 * 1024
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

    def answer(self, reply: Reply) -> None:
        """Sends it, from any thread. A peer that does not take what it was sent before is left to the server's own threads."""
        self._request.reply = reply
        channel = self._channel
        if channel.secure.unsent or len(reply[2]) > _LARGEST_INLINE:
            channel.server.add_task(channel)
        else:
            Turn(channel).service()


class DeferringTask(Task):
    """A request that may be answered later. When its answer is there, it is served once more, without the application."""

    def get_environment(self) -> dict[str, Any]:
        """The environ, with the means to answer later."""
        environ = super().get_environment()
        environ[DEFER] = self._later
        return environ

    def execute(self) -> None:
        """Runs the application, or writes the answer that came since."""
        reply: Reply | None = getattr(self.request, "reply", None)
        if reply is None:
            super().execute()
            return
        self.status, self.response_headers, body = reply
        self.complete = True
        self.content_length = len(body)
        self.write(body)

    def _later(self) -> Later:
        return Later(self.channel, self.request)


class Turn:
    """One turn of a channel in a worker thread: as `Channel.service`, but a deferred request stays where it is."""

    __slots__ = ("channel",)

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def service(self) -> None:
        """Serves the first of the channel's requests."""
        channel = self.channel
        channel.task_class = DeferringTask
        try:
            HTTPChannel.service(channel)
        except Deferred:
            return  # its answer may be out already; nothing of the channel may be touched any more
        except BaseException:
            channel.will_close = True
            channel.server.ask_attention(channel)
            raise
        if channel.will_close or channel.close_when_flushed or channel.secure.unsent or not channel.watched:
            channel.server.ask_attention(channel)


class DeferringServer(Server):
    """The server, with tasks that may be answered later."""

    def add_task(self, channel: Channel) -> None:
        """Has a request of the channel served by a worker thread."""
        self._workers.add(Turn(channel))
