"""Where deliveries may go: to the public internet by HTTPS, and to what the allow-list names.

A URL comes from somebody who may not look into this network, but this program stands in it. So a name is resolved once an
attempt, every address of it is looked at, and the connection goes to an address that was looked at, never to the name.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from messagebroker.errors import Refused
from messagebroker.ops.allow_list import AllowList
from messagebroker.ops.private_networks import parsed, why_not_public
from messagebroker.ops.resolver import Resolver
from messagebroker.settings import Settings

_PORTS = {"http": 80, "https": 443}
_LONGEST = 2000
_is_host = re.compile(r"(?!.*\.\.)[a-z0-9_]([a-z0-9._-]{0,252})").fullmatch
_is_number = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?").fullmatch  # what no top-level domain looks like


class Forbidden(Refused):
    """Deliveries may not go there. `permanent`: not before somebody changes the URL or the allow-list."""

    def __init__(self, text: str, *, permanent: bool) -> None:
        super().__init__(text)
        self.permanent = permanent


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A URL in its parts."""

    scheme: str
    host: str  # a name in lower case, or an address as everybody writes it
    port: int
    target: str  # path and query
    is_literal: bool  # the host is an address

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@lru_cache(maxsize=4096)
def destination(url: str) -> Destination:
    """The parts of an address such as `https://shop.example.org/hooks`. Nothing is looked up.

    Raises:
        Forbidden: it is none, or has parts that a destination does not have.
    """
    if len(url) > _LONGEST or not re.fullmatch(r"[!-\[\]-~]+", url):  # without spaces, controls and backslashes
        raise _wrong(f"is up to {_LONGEST} printable ASCII characters without spaces and backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _wrong(str(error)) from None
    if parts.scheme not in _PORTS:
        raise _wrong("begins with https://")
    if "@" in parts.netloc:
        raise _wrong("holds no user and no password; an Authorization header is the place for those")
    if parts.fragment or port == 0:
        raise _wrong("has no #fragment and no port 0")
    host, is_literal = _host(host, is_bracketed="[" in parts.netloc)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(scheme=parts.scheme, host=host, port=port or _PORTS[parts.scheme], target=target, is_literal=is_literal)


class Guard:
    """Looks at where an attempt would go. Of one event loop."""

    def __init__(self, settings: Settings, *, resolver: Resolver | None = None, allow_list: AllowList | None = None) -> None:
        self._allows_http = settings.webhook_allow_http
        self._resolver = resolver or Resolver()
        self._allow_list = allow_list or AllowList()

    async def addresses(self, to: Destination) -> tuple[str, ...]:
        """The addresses that may be connected to, in the order of preference. All of a name are good, or it is refused.

        Raises:
            Forbidden: an address is not public and not on the allow-list, or the scheme is http.
            Unavailable: the name does not resolve, or the allow-list cannot be read.
        """
        found = (to.host,) if to.is_literal else await self._resolver.addresses(to.host)
        checked = [parsed(text) for text in found]
        for address in checked:
            why = why_not_public(address)
            may_http = to.scheme == "https" or self._allows_http
            if (why is None and may_http) or await self._allow_list.has(address):
                continue
            if why is None:
                raise Forbidden(f"{to.host} is asked for by http; use https, or set WEBHOOK_ALLOW_HTTP", permanent=True)
            told = to.host if to.is_literal else f"{to.host} is {address}, which"
            raise Forbidden(
                f"{told} is {why}; deliveries go there only after `messagebroker webhooks allow` of its network",
                permanent=to.is_literal,  # what a name stands for can change
            )
        return tuple(str(address) for address in checked)

    def close(self) -> None:
        """Ends what is being looked up."""
        self._resolver.close()


def _host(host: str, *, is_bracketed: bool) -> tuple[str, bool]:
    """How everybody writes it, and whether it is an address. `0x7f.1` and `2130706433` are 127.0.0.1."""
    if is_bracketed:
        try:
            if "%" in host:
                raise ValueError
            return str(parsed(str(ip_address(host)))), True
        except ValueError:
            raise _wrong(f"holds no IPv6 address: [{host[:60]}]") from None
    if not _is_host(host):
        raise _wrong("holds a name of letters, digits, dots and hyphens; other alphabets in their xn-- form")
    if not _is_number(host):
        return host, False
    try:
        return socket.inet_ntoa(socket.inet_aton(host.rstrip("."))), True
    except OSError:
        raise _wrong(f"holds {host[:60]!r}, which is neither a name nor an address") from None


def _wrong(text: str) -> Forbidden:
    return Forbidden(f"a destination's URL {text}", permanent=True)
