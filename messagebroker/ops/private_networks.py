"""Which addresses belong to nobody on the public internet: of this machine, this network, or of no use there."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

_V4 = {
    "0.0.0.0/8": "of this machine",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a provider's customers (CGNAT)",
    "127.0.0.0/8": "of this machine (loopback)",
    "168.63.129.16/32": "of the cloud's own services",  # Azure's, reachable from every machine there; a public number
    "169.254.0.0/16": "link-local, where clouds keep credentials",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "reserved for documents",
    "192.88.99.0/24": "reserved (6to4)",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "reserved for benchmarks",
    "198.51.100.0/24": "reserved for documents",
    "203.0.113.0/24": "reserved for documents",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_V6 = {  # the first that fits
    "::/128": "of this machine",
    "::1/128": "of this machine (loopback)",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "private (site-local)",
    "ff00::/8": "multicast",
    "64:ff9b:1::/48": "a private translation to IPv4 (NAT64)",
    "2001::/32": "a tunnel to IPv4 (Teredo)",
    "2001::/23": "reserved",
    "2001:db8::/32": "reserved for documents",
    "2002::/16": "a tunnel to IPv4 (6to4)",
    "3fff::/20": "reserved for documents",
}
_NETWORKS = [(ip_network(text), words) for text, words in (_V4 | _V6).items()]
_GLOBAL_V6 = ip_network("2000::/3")  # all that was ever given out
_NAT64 = ip_network("64:ff9b::/96")  # how machines without IPv4 reach public IPv4 addresses


@lru_cache(maxsize=4096)
def parsed(text: str) -> Address:
    """The address; one of IPv4 in the disguise of IPv6 (`::ffff:127.0.0.1`) as what it is.

    Raises:
        ValueError: it is none.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=4096)
def why_not_public(address: Address) -> str | None:
    """In words what it is, None for an address of the public internet."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        return why_not_public(IPv4Address(address.packed[-4:]))
    for network, words in _NETWORKS:
        if address.version == network.version and address in network:
            return words
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return "reserved"
    return None
