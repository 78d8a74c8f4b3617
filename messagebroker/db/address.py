"""What a MySQL DATABASE_URL says: where the server is, who we are there, and how its certificate is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from messagebroker.errors import ConfigurationError
from messagebroker.settings import Settings

_OPTIONS = ("unix_socket", "ssl_ca", "charset")


@dataclass(frozen=True, kw_only=True)
class Address:
    """`mysql://USER:PASSWORD@HOST:PORT/NAME?ssl_ca=FILE`, taken apart."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    name: str
    unix_socket: str | None = None
    ssl_ca: Path | None = None  # the server must show a certificate of this CA for its host name

    @classmethod
    def of(cls, settings: Settings) -> Address:
        """The address in the settings.

        Raises:
            ConfigurationError: it names no database, has an option that is not known, or a file that is not there.
        """
        url = urlsplit(settings.database)
        name = unquote(url.path.lstrip("/"))
        if not name:
            raise ConfigurationError("DATABASE_URL names no database; it ends in /message_system as a rule")
        options = dict(parse_qsl(url.query))
        if unknown := sorted(set(options) - set(_OPTIONS)):  # a misspelt ssl_ca must not pass unseen
            raise ConfigurationError(f"DATABASE_URL has an unknown option {unknown[0]}; there are {', '.join(_OPTIONS)}")
        if options.get("charset", "utf8mb4") != "utf8mb4":
            raise ConfigurationError("DATABASE_URL asks for another charset than utf8mb4; leave `charset` out")
        return cls(
            host=url.hostname or "localhost",
            port=url.port or 3306,
            user=unquote(url.username or ""),
            password=unquote(url.password or ""),
            name=name,
            unix_socket=options.get("unix_socket"),
            ssl_ca=_ca(settings, options.get("ssl_ca")),
        )

    @property
    def is_near(self) -> bool:
        """Whether the way there is this machine or a private network: a name without a dot is one of Compose or the LAN."""
        if self.unix_socket or "." not in self.host:
            return True
        try:
            return ip_address(self.host).is_private
        except ValueError:
            return False


def _ca(settings: Settings, given: str | None) -> Path | None:
    if given is None:
        return None
    path = settings.path(Path(given))
    if not path.is_file():
        raise ConfigurationError(f"DATABASE_URL says ssl_ca={given}, but there is no file {path}; put the server's CA there")
    return path
