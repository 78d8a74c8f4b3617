"""Dramatiq: the broker first (periodiq's options need its middleware), then one actor family a file."""
