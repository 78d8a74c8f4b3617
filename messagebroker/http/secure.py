"""One TLS connection over a non-blocking socket.

OpenSSL never sees the socket: bytes go through two memory buffers. So no call blocks or asks to be repeated, a read
takes one system call however many records arrived, and what the socket does not take is an ordinary queue.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from contextlib import suppress
from typing import cast

RECEIVE_BYTES = 256 * 1024
_RECORD = 16 * 1024
_arrived = memoryview(bytearray(RECEIVE_BYTES))  # both are used by the one thread that reads, and emptied at once
_opened = memoryview(bytearray(RECEIVE_BYTES))


class Ended(Exception):
    """The peer closed the connection, properly or not."""


class SecureSocket:
    """Reading belongs to one thread; writing may come from another: `lock` guards the SSL object and the queue."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.socket = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.lock = threading.Lock()
        self._queue: deque[memoryview] = deque()  # ciphertext that the socket did not take yet
        self.unsent = 0  # bytes in it
        self.sent = 0  # bytes that the socket ever took

    def handshake(self) -> bool:
        """Goes on with the handshake as far as the bytes that arrived allow; True when it is done.

        Raises:
            Ended, ssl.SSLError: it failed. The alert that says so to the peer is on its way.
        """
        with self.lock:
            self._fill()
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                return False
            finally:
                self._push()
        return True

    def receive(self) -> bytes:
        """What arrived, opened; nothing when no record is complete. Always takes all that is there.

        Raises:
            Ended: the peer closed.
            ssl.SSLError: what arrived is not TLS.
        """
        with self.lock:
            self._fill()
            return self._open()

    def leftover(self) -> bytes:
        """Plain bytes that arrived together with the end of the handshake."""
        with self.lock:
            return self._open()

    def send(self, data: bytes) -> None:
        """Seals and sends; what the socket does not take stays in the queue (see `unsent`)."""
        with self.lock:
            self._tls.write(data)
            self._push()

    def send_plain(self, data: bytes) -> None:
        """Sends a few bytes as they are, to a peer that does not speak TLS; whether they arrive is not our concern."""
        with suppress(OSError):
            self.socket.send(data)

    def flush(self) -> None:
        """Sends as much of the queue as the socket takes."""
        with self.lock:
            self._push()

    def discard(self) -> bool:
        """Throws away what arrives on a connection that is being closed; False at its end."""
        try:
            return self.socket.recv_into(_arrived) > 0
        except BlockingIOError:
            return True
        except OSError:
            return False

    def say_goodbye(self) -> None:
        """Tells the peer that nothing more will come (close_notify and FIN), without waiting for its answer."""
        with self.lock:
            with suppress(ssl.SSLError, ValueError):  # it waits for the peer's own, or nothing was agreed on yet
                self._tls.unwrap()
            with suppress(OSError):  # the peer is gone already
                self._push()
                self.socket.shutdown(socket.SHUT_WR)

    def certificate(self) -> bytes | None:
        """The verified certificate of the peer; None without one. Known on resumed sessions too."""
        return self._tls.getpeercert(binary_form=True)

    def _fill(self) -> None:
        try:
            count = self.socket.recv_into(_arrived)
        except BlockingIOError:
            return
        except OSError as error:
            raise Ended from error
        if count == 0:
            raise Ended
        self._incoming.write(_arrived[:count])

    def _open(self) -> bytes:
        total = 0
        try:
            while self._incoming.pending or self._tls.pending():
                if total > RECEIVE_BYTES - _RECORD:
                    return bytes(_opened[:total]) + self._open()
                count = cast("int", self._tls.read(_RECORD, _opened[total:]))  # with a buffer it returns how many
                if count == 0:
                    break
                total += count
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError as error:
            if not total:
                raise Ended from error
        if self._outgoing.pending:  # key updates, alerts
            self._push()
        return bytes(_opened[:total])

    def _push(self) -> None:
        queue = self._queue
        if self._outgoing.pending:
            sealed = self._outgoing.read()
            if not queue:
                try:
                    count = self.socket.send(sealed)
                except BlockingIOError:
                    count = 0
                self.sent += count
                if count == len(sealed):
                    return
                sealed = sealed[count:]
            queue.append(memoryview(sealed))
            self.unsent += len(sealed)
        while queue:
            try:
                count = self.socket.send(queue[0])
            except BlockingIOError:
                return
            self.sent += count
            self.unsent -= count
            if count == len(queue[0]):
                queue.popleft()
            else:
                queue[0] = queue[0][count:]
