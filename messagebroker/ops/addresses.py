"""Which addresses count as one."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_network


@lru_cache(maxsize=4096)
def group_of(host: str) -> str:
    """Whose attempts count together: one IPv4 address, or one IPv6 network of 64 bits, for a host has all of those."""
    if ":" not in host:
        return host
    return str(ip_network(f"{host.partition('%')[0]}/64", strict=False))
