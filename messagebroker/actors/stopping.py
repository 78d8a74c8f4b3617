"""Tells actors that wait for something that their worker is stopping."""

from __future__ import annotations

import threading

import dramatiq

from messagebroker.db.connection import database
from messagebroker.db.writing import give_up_connection


class Requeue(Exception):
    """Raised by an actor that could not finish: its call goes back to the queue's head, unchanged."""


class Stopping(dramatiq.Middleware):
    """Sets the event when a worker begins to stop; its threads leave no connection behind."""

    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Dramatiq's signal."""
        self.event.set()

    def before_worker_thread_shutdown(self, broker: dramatiq.Broker, thread: object) -> None:
        """Dramatiq's signal, in the thread that ends."""
        if database.obj is not None:
            give_up_connection()
