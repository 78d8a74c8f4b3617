"""Gives back what was at hand when its queue was paused: prefetched calls are not begun any more."""

from __future__ import annotations

import dramatiq
from dramatiq.middleware import MiddlewareError

from messagebroker.actors.stopping import Requeue
from messagebroker.ops import steering


class Paused(Requeue, MiddlewareError):
    """The call's queue rests. Dramatiq lets only its own errors out of a middleware."""


class Resting(dramatiq.Middleware):
    """Stands before those that count a call as begun."""

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Dramatiq's signal, in the thread that would run the call."""
        if message.queue_name in steering.paused():
            message.options["throws"] = Paused  # it is no failure, and is not logged as one
            raise Paused
