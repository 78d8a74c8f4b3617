"""Tells actors that wait for something that their worker is stopping."""

from __future__ import annotations

import threading

import dramatiq


class Requeue(Exception):
    """Raised by an actor that could not finish: its call goes back to the queue's head, unchanged."""


class Stopping(dramatiq.Middleware):
    """Sets the event when a worker begins to stop."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Dramatiq's signal."""
        self.event.set()
