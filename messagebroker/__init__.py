"""Message Broker: takes messages in over mutual TLS, loses none, stores them encrypted, delivers them."""

__version__ = "0.1.0"
