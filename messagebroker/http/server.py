"""The HTTPS server of the proxy and of main: waitress' channels, parser and tasks around a loop of our own.

Why not waitress' loop: it asks every connection for its wishes before every wait, so 500 silent peers slow everybody
down. This one tells the system once what it waits for (epoll on Linux, select on Windows), and hears of a finished
answer only when something is left to do.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from messagebroker.http import handshake
from messagebroker.http.channel import Channel
from messagebroker.http.descriptors import room_for
from messagebroker.http.farewell import Farewell
from messagebroker.http.limits import ANONYMOUS_BODY_BYTES, Limits, Refusals, plain_address
from messagebroker.http.listeners import listen
from messagebroker.http.memory import relieve
from messagebroker.http.tls import server_context
from messagebroker.http.waitress_settings import adjustments, environ
from messagebroker.http.workers import Workers
from messagebroker.ops import metrics
from messagebroker.ops.addresses import group_of
from messagebroker.settings import Settings

log = logging.getLogger(__name__)

WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]

CHECK_SECONDS = 0.25
HANDSHAKES_AT_ONCE = 8  # a millisecond each: when everybody reconnects, those who are connected go on
_ACCEPTS_AT_ONCE = 64  # then those who are connected get their turn
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Server:
    """Listens from its making on; `run` serves until it is told to stop."""

    def __init__(
        self,
        app: WSGI,
        *,
        host: str,
        port: int,
        role: str,
        settings: Settings,
        threads: int,
        limits: Limits | None = None,
        selector: selectors.BaseSelector | None = None,
    ) -> None:
        """Binds the port. `limits` and `selector` are for tests; by default they follow the settings and the system."""
        self.application = app
        self.role = role
        self.tls = server_context(settings, role)
        self.limits = limits or Limits.of(settings, room=room_for(settings.max_connections))
        self.refusals = Refusals()
        self.adjustments = adjustments(settings, settings.max_request_bytes)
        self.anonymous_adjustments = adjustments(settings, min(settings.max_request_bytes, ANONYMOUS_BODY_BYTES))
        self.stopping = False
        self.channels: dict[int, Channel] = {}
        self.active_channels = self.channels  # waitress' name for it
        self._workers = Workers(threads, f"{role}-http")
        self._by_address: Counter[str] = Counter()
        self._attention: deque[Channel] = deque()
        self._woken = False
        self._next_check = 0.0
        self._next_refresh = 0.0
        self._selector = selector or selectors.DefaultSelector()
        self._listeners = listen(host, port)
        self.port: int = self._listeners[0].getsockname()[1]
        self._alarm, self._waker = socket.socketpair()
        for end in (self._alarm, self._waker):
            end.setblocking(False)
        self._selector.register(self._alarm, _READ, self._silence_alarm)
        for listener in self._listeners:
            self._selector.register(listener, _READ, self._accept)
        self.environ = environ(settings.primary_domain, self.port)

    def run(self, stop: threading.Event) -> None:
        """Serves until `stop` is set; then finishes what is in hand, and returns."""
        self._workers.start()
        log.info("%s listens on port %d", self.role, self.port)
        try:
            while not stop.is_set():
                self._turn(CHECK_SECONDS)
            self._finish()
        finally:
            self._close()

    # what channels call

    def add_task(self, channel: Channel) -> None:
        """Has a request of the channel served, or its answer sent, by a worker thread."""
        self._workers.add(channel)

    def ask_attention(self, channel: Channel) -> None:
        """From a worker thread: has the I/O thread look at the channel."""
        self._attention.append(channel)
        self.wake()

    def wake(self) -> None:
        """From any thread: has the I/O thread look around at once."""
        if not self._woken:
            self._woken = True
            with suppress(OSError):  # closed: nobody is left to wake
                self._waker.send(b"!")

    def pull_trigger(self) -> None:
        """waitress wakes its loop after every answer; ours hears of it through `ask_attention`, if need be."""

    def forget(self, channel: Channel) -> None:
        """The channel is about to close its socket."""
        if channel.watched:
            self._selector.unregister(channel.socket)
            channel.watched = 0
        group = group_of(channel.addr[0])
        self._by_address[group] -= 1
        if not self._by_address[group]:
            del self._by_address[group]
        metrics.CONNECTIONS.dec()

    # the loop

    def _turn(self, seconds: float) -> None:
        strangers = 0
        for key, events in self._selector.select(seconds):
            if not isinstance(key.data, Channel):
                key.data(key.fileobj)
                continue
            if not key.data.established:
                strangers += 1
                if strangers > HANDSHAKES_AT_ONCE:
                    continue  # it is still ready at the next turn
            self._carefully(self._happened, key.data, events)
        while self._attention:
            self._carefully(self._settle, self._attention.popleft())
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._check(now)

    def _carefully(self, action: Callable[..., None], channel: Channel, *arguments: Any) -> None:
        """What one connection makes fail ends that connection, and no other."""
        try:
            action(channel, *arguments)
        except Exception:
            log.exception("closing the connection of %s", channel.addr[0])
            channel.handle_close()

    def _happened(self, channel: Channel, events: int) -> None:
        if not channel.is_open():
            return  # something else that happened in this turn closed it
        if events & _READ and channel.readable():
            channel.handle_read()
            if channel.watched == _READ and not channel.writable() and not channel.wants_end():
                return  # as before; also while its request runs, for peers seldom send more meanwhile
        self._settle(channel)

    def _settle(self, channel: Channel) -> None:
        """Sends what can be sent, closes what is to be closed, and waits for what comes next."""
        if channel.is_open():
            channel.attend()
        while channel.is_open():
            wanted = (_READ if channel.readable() else 0) | (_WRITE if channel.writable() else 0)
            if wanted == channel.watched:
                return
            if not channel.watched:
                self._selector.register(channel.socket, wanted, channel)
            elif not wanted:
                self._selector.unregister(channel.socket)
            else:
                self._selector.modify(channel.socket, wanted, channel)
            channel.watched = wanted  # a worker that was done before it saw this: look again what is wanted

    def _silence_alarm(self, alarm: socket.socket) -> None:
        alarm.recv(64)
        self._woken = False

    def _check(self, now: float) -> None:
        for channel in list(self.channels.values()):
            self._carefully(Channel.check, channel, now)
            self._carefully(self._settle, channel)
        if relieve(list(self.channels.values()), self.limits.held_bytes):
            log.warning("refused request bodies: all together would take over %d bytes", self.limits.held_bytes)
        if now >= self._next_refresh:
            self._next_refresh = now + 2 * CHECK_SECONDS
            self.tls.refresh()
            self.refusals.tell()

    # new connections

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the peer is gone already, or no file descriptor is left
                self.refusals.record("not-accepted", "?", str(error))
                if not self._make_room(""):
                    time.sleep(0.01)  # rather than ask again at once, for all that is to be had
                return
            self._admit(sock, plain_address(address))

    def _admit(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        group = group_of(address[0])
        if (self._by_address[group] >= self.limits.max_connections_per_address and not self._make_room(group)) or (
            len(self.channels) >= self.limits.max_connections and not self._make_room("")
        ):
            self.refusals.record(handshake.TOO_MANY, address[0])
            sock.close()
            return
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            channel = Channel(self, sock, address)
        except OSError as error:
            self.refusals.record(handshake.GONE, address[0], str(error))
            sock.close()
            return
        self._by_address[group] += 1
        metrics.CONNECTIONS.inc()
        self._settle(channel)

    def _make_room(self, group: str) -> bool:
        """Closes the oldest connection (from that address) that has said nothing worth keeping; False without one.

        So silent connections cannot lock out senders, not even those who share their address.
        """
        for channel in self.channels.values():
            if (not group or group_of(channel.addr[0]) == group) and (channel.lingering or not channel.established):
                if not channel.established:
                    self.refusals.record(handshake.DISPLACED, channel.addr[0])
                channel.handle_close()
                return True
        return False

    # the end

    def _finish(self) -> None:
        self.stopping = True  # from now on every answer is its connection's last, and says so
        farewell = Farewell(self.role)
        self._turn(0)  # who is connected, as far as the peer can tell, is served too
        self._close_listeners()
        while self.channels and not farewell.is_over():
            self._turn(0.05)
            if farewell.may_hang_up():
                self._hang_up_idle()
        if busy := sum(1 for channel in self.channels.values() if channel.requests):
            log.warning("%s stops with %d requests unanswered: they took too long", self.role, busy)

    def _hang_up_idle(self) -> None:
        for channel in list(self.channels.values()):
            self._carefully(self._happened, channel, _READ)  # what has arrived meanwhile is served
            if channel.is_open() and channel.is_idle():
                channel.hang_up()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            self._selector.unregister(listener)
            listener.close()
        self._listeners = []

    def _close(self) -> None:
        self._close_listeners()
        for channel in list(self.channels.values()):
            channel.handle_close()
        self._workers.stop(1.0)
        self._selector.close()
        self._alarm.close()
        self._waker.close()
