"""Dramatiq: the broker, the actors, the worker and the scheduler.

The broker comes first: actors with periodiq's options can be declared only after it has periodiq's middleware.
"""

from messagebroker.actors import broker as broker
