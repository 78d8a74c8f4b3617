"""Deliveries in a worker: one event loop a process, hundreds under way, few for each destination."""
