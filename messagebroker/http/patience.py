"""How long one connection may go on as it does: deadlines and paces. Only the I/O thread asks."""

from __future__ import annotations

import time

from messagebroker.http.limits import Limits


class Transfer:
    """Bytes that move: is there enough of them for the time they take?"""

    __slots__ = ("base", "moved", "started")

    def __init__(self, base: int = 0) -> None:
        self.started = time.monotonic()
        self.base = base  # what a running total said at the start
        self.moved = 0

    def count(self, total: int) -> None:
        """Takes note of the running total."""
        self.moved = total - self.base

    def is_slow(self, limits: Limits, now: float) -> bool:
        """True when it is under the minimum rate."""
        return self.moved < (now - self.started) * limits.min_body_rate


class Patience:
    """What is expected of the peer now, and until when.

    First a handshake, then requests: a header, a body, silence while the application works, and the answer taken.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._deadline = time.monotonic() + limits.handshake_seconds
        self._body: Transfer | None = None
        self._answer: Transfer | None = None
        self._in_header = False

    def expect_header(self) -> None:
        """From now on a request's header may take its time; more of its bytes do not start that time again."""
        if not self._in_header:
            self._in_header = True
            self._deadline = time.monotonic() + self._limits.header_seconds

    def expect_body(self, received: int) -> None:
        """A body is arriving, and this much of it is here."""
        if self._body is None:
            self._body = Transfer()
        self._body.count(received)

    def expect_nothing(self, *, half_read: bool = False) -> None:
        """The peer waits for us, or is idle; `half_read`: it began a request that we do not read now."""
        self._body = None
        self._in_header = False
        seconds = self._limits.header_seconds if half_read else self._limits.idle_seconds
        self._deadline = time.monotonic() + seconds

    def expect_end(self) -> None:
        """We said goodbye."""
        self._body = self._answer = None
        self._deadline = time.monotonic() + self._limits.linger_seconds

    def is_receiving(self) -> bool:
        """True while a body arrives."""
        return self._body is not None

    def body_fault(self, now: float) -> str | None:
        """What is wrong with the pace of the body that arrives, if anything."""
        body, limits = self._body, self._limits
        if body is None:
            return None
        if now - body.started > limits.body_seconds:
            return f"took longer than {limits.body_seconds:g} s"
        if now - body.started > limits.rate_grace_seconds and body.is_slow(limits, now):
            return f"came slower than {limits.min_body_rate} bytes a second"
        return None

    def is_tired_of_reader(self, now: float, sent: int) -> bool:
        """True when the peer does not take its answer: in every stretch of `body_seconds` some of it must go.

        `sent` is a running total. Counted in stretches, for the first megabytes vanish in the system's buffers at once.
        """
        if self._answer is None:
            self._answer = Transfer(sent)
        elif now - self._answer.started > self._limits.body_seconds:
            self._answer.count(sent)
            if self._answer.is_slow(self._limits, now):
                return True
            self._answer = Transfer(sent)
        return False

    def answer_is_taken(self) -> None:
        """Nothing of an answer is left to send."""
        self._answer = None

    def is_over(self, now: float) -> bool:
        """True when what is expected did not come in time."""
        return self._body is None and now > self._deadline
