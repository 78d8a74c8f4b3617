"""One connection: waitress' channel with TLS in it, deadlines, and an orderly end.

The I/O thread reads, parses and closes; a worker thread runs one request at a time and writes its answer. Both meet in
`SecureSocket`, which has a lock, and in waitress' `requests` list, which has another.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import closing
from typing import TYPE_CHECKING, Any

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.utilities import Error

from messagebroker.http import handshake
from messagebroker.http.later import Deferred
from messagebroker.http.parser import Overloaded, Parser, RequestTimeout
from messagebroker.http.patience import Patience
from messagebroker.http.secure import Ended, SecureSocket
from messagebroker.http.tasks import USE_HTTPS, ProblemTask, Task

if TYPE_CHECKING:
    from messagebroker.http.server import Server

HIGH_WATER = 1024 * 1024
"""Bytes of an answer that may wait for a slow reader before the thread that writes it waits too."""

_PIECE = 256 * 1024  # of an answer, sealed at once


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection from its first byte to its last."""

    parser_class = Parser
    task_class = Task
    error_task_class = ProblemTask

    request: Parser | None
    connected: bool
    will_close: bool

    def __init__(self, server: Server, sock: socket.socket, address: tuple[Any, ...]) -> None:
        self.secure = SecureSocket(sock, server.tls.current)
        self.established = False
        self.lingering = False  # our side is closed; what still arrives is thrown away
        self.watched = 0  # the events that the I/O thread waits for
        self.watches_for_end = False  # reads although a request is in hand, to see the peer leave
        self.patience = Patience(server.limits)
        self.environ: dict[str, Any] = {}
        super().__init__(server, sock, address, server.adjustments, map=server.channels)

    # the I/O thread

    def readable(self) -> bool:
        """True while the next request may be read: not before the answer to the one at hand is out."""
        if self.lingering:
            return True
        in_hand = self._has_next() if self.watches_for_end else self.requests
        return not (self.will_close or self.close_when_flushed or in_hand or self.secure.unsent)

    def _has_next(self) -> bool:
        """Whether the peer has begun another request after the one at hand: that is as much as is read ahead."""
        return self.request is not None or len(self.requests) > 1

    def writable(self) -> bool:
        """True while there is something to send."""
        return bool(self.secure.unsent)

    def handle_read(self) -> None:
        """Takes in what arrived."""
        if self.lingering:
            if not self.secure.discard():
                self.handle_close()
            return
        try:
            data = self.secure.receive() if self.established else self._shake_hands()
        except Ended:
            self._ended()
        except ssl.SSLError as error:
            self._failed(error)
        except OSError:
            self._ended()
        else:
            if data:
                self.received(data)
                self._expect_more()

    def _shake_hands(self) -> bytes:
        if not self.secure.handshake():
            return b""
        self.established = True
        self.patience.expect_header()
        certificate = self.secure.certificate()
        peer, problem = handshake.identify(certificate) if certificate else (None, None)
        if peer is None:
            self.adj = self.server.anonymous_adjustments
        self.environ = {
            **self.server.environ,
            "REMOTE_ADDR": self.addr[0],
            "REMOTE_HOST": self.addr[0],
            "REMOTE_PORT": str(self.addr[1]),
            "messagebroker.peer": peer,
            "messagebroker.peer_problem": problem,
        }
        return self.secure.leftover()

    def _ended(self) -> None:
        if not self.established:
            self.server.refusals.record(handshake.GONE, self.addr[0])
        self.handle_close()

    def _failed(self, error: ssl.SSLError) -> None:
        if self.established:
            self.handle_close()
            return
        reason = handshake.reason_of(error)
        self.server.refusals.record(reason, self.addr[0], handshake.detail_of(error))
        if reason == handshake.PLAIN_HTTP:
            self.secure.send_plain(USE_HTTPS)
        self.linger()  # so that the alert arrives before the reset that unread bytes would cause

    def _expect_more(self) -> None:
        """After bytes arrived: what must come next?"""
        request = self.request
        if request is None:  # complete, and being served or about to be
            self.patience.expect_nothing()
        elif request.headers_finished:
            self.patience.expect_body(request.body_bytes_received)
        else:
            self.patience.expect_header()

    def check(self, now: float) -> None:
        """Called a few times a second: ends what takes too long."""
        patience = self.patience
        if self.secure.unsent:
            if patience.is_tired_of_reader(now, self.secure.sent):
                self.handle_close()
            return
        patience.answer_is_taken()
        if self.requests:  # the application may take its time
            patience.expect_nothing(half_read=self.request is not None)
        elif fault := patience.body_fault(now):
            self._give_up(RequestTimeout(f"its body {fault}"))
        elif patience.is_over(now):
            self._out_of_time()

    def _out_of_time(self) -> None:
        if self.lingering:
            self.handle_close()
        elif not self.established:
            self.server.refusals.record(handshake.TIMEOUT, self.addr[0])
            self.handle_close()
        elif self.request is not None:
            self._give_up(RequestTimeout(f"its header took longer than {self.server.limits.header_seconds:g} s"))
        else:
            self.linger()

    def held(self) -> int:
        """Bytes of request bodies that it holds."""
        requests = [*self.requests, self.request] if self.request else self.requests
        return sum(request.body_bytes_received for request in requests)

    def is_receiving(self) -> bool:
        """True while a body is still arriving."""
        return self.patience.is_receiving() and self.request is not None

    def refuse_body(self) -> None:
        """Gives up the body that is arriving, for want of memory."""
        self._give_up(Overloaded(""))

    def _give_up(self, error: Error) -> None:
        """Answers a request before all of it arrived."""
        with self.requests_lock:
            request, self.request = self.request, None
            assert request is not None
            request.fail(error)
            self.requests.append(request)
        self.patience.expect_nothing()
        self.server.add_task(self)

    def attend(self) -> None:
        """Called by the I/O thread after a worker asked for it (and after anything happened to the channel)."""
        if self.secure.unsent:
            self._flush()
        if self.will_close:
            self.handle_close()
        elif self.close_when_flushed and not self.secure.unsent:
            self.linger()

    handle_write = attend

    def _flush(self) -> None:
        try:
            self.secure.flush()
        except OSError:
            self.will_close = True
            return  # the caller closes, and that wakes whoever waits
        if self.secure.unsent <= HIGH_WATER:
            with self.outbuf_lock:
                self.outbuf_lock.notify_all()

    def linger(self) -> None:
        """Closes our side, and for a moment throws away what the peer still sends.

        Closing for good at once would answer bytes under way with a reset, and a reset makes the peer lose what it has
        not read yet: the answer that says why.
        """
        if self.lingering or not self.connected:
            return
        self.lingering = True
        self.request = None
        self.patience.expect_end()
        self.secure.say_goodbye()

    def handle_close(self) -> None:
        """Closes for good."""
        if not self.is_open():
            return
        with self.outbuf_lock:
            self.connected = False
            self.outbuf_lock.notify_all()
        self.server.forget(self)
        with self.secure.lock:  # no worker is in the middle of a send: its bytes would go to the number's next owner
            self.close()

    def hang_up(self) -> None:
        """Closes an idle connection."""
        if self.established and not self.lingering:
            self.secure.say_goodbye()
        self.handle_close()

    def is_open(self) -> bool:
        """False once the socket is closed."""
        return self._fileno is not None

    def is_idle(self) -> bool:
        """True when no request is in hand or half read, and no answer on its way."""
        return not (self.requests or self.request or self.secure.unsent or self.lingering)

    def wants_end(self) -> bool:
        """True when the connection is to be closed."""
        return bool(self.will_close or self.close_when_flushed)

    # a worker thread

    def write_soon(self, data: Any) -> int:
        """Sends a piece of an answer; waits while the peer is too slow to take what is already waiting."""
        if isinstance(data, ReadOnlyFileBasedBuffer):
            with closing(data):
                while piece := data.get(_PIECE, True):
                    self.write_soon(piece)
            return 0
        for start in range(0, len(data), _PIECE):
            if not self.connected:
                raise ClientDisconnected
            try:
                self.secure.send(data if len(data) <= _PIECE else data[start : start + _PIECE])
            except OSError as error:
                self.will_close = True
                raise ClientDisconnected from error
            if self.secure.unsent > HIGH_WATER:
                self._wait_for_reader()
        return len(data)

    def _wait_for_reader(self) -> None:
        self.server.ask_attention(self)
        with self.outbuf_lock:
            while self.connected and self.secure.unsent > HIGH_WATER:
                self.outbuf_lock.wait(1.0)

    def send_continue(self) -> None:
        """Tells the peer to go on with the body. In the I/O thread, or in a worker's between two requests."""
        assert self.request is not None
        self.request.expect_continue = False
        self.sent_continue = True
        try:
            self.secure.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        except OSError:
            self.will_close = True

    def watch_for_end(self) -> None:
        """The request at hand waits for something: has the I/O thread see it when the peer leaves meanwhile."""
        self.watches_for_end = True
        self.server.ask_attention(self)

    def service(self) -> None:
        """Serves the first of the requests that wait, unless it is deferred: then it stays, and comes here again."""
        try:
            super().service()
        except Deferred:
            return  # its answer may be out already; nothing of the channel may be touched any more
        except BaseException:
            self.will_close = True
            self.server.ask_attention(self)
            raise
        if self.will_close or self.close_when_flushed or self.secure.unsent or not self.watched:
            self.server.ask_attention(self)

    def _flush_outbufs_below_high_watermark(self) -> None:
        """waitress' buffers are not in use; `write_soon` waits by itself."""
