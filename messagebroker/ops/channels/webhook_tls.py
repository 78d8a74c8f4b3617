"""TLS towards receivers: who is believed, and what is shown. A context is made once and kept while it is used."""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory

from messagebroker.errors import ConfigurationError
from messagebroker.ops.channels.webhook_config import WebhookConfig, WebhookSecrets
from messagebroker.ops.private_files import write_secret

_MOST = 200  # each holds up to a megabyte of the system's authorities
_Parts = tuple[str | None, str | None, str | None]  # authority, certificate, key


class Contexts:
    """Of one event loop. Making one takes 20 ms of processor time, so that happens beside the loop."""

    def __init__(self) -> None:
        self._made: OrderedDict[_Parts, asyncio.Task[ssl.SSLContext]] = OrderedDict()

    async def of(self, config: WebhookConfig, secrets: WebhookSecrets) -> ssl.SSLContext:
        """Believes the system's authorities, or the webhook's own one alone; shows its client certificate, if it has one.

        Raises:
            ConfigurationError: certificate, key or authority are not usable.
        """
        parts = (config.ca, secrets.client_certificate, secrets.client_key)
        task = self._made.get(parts)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._made[parts] = asyncio.create_task(asyncio.to_thread(_made, *parts))
            if len(self._made) > _MOST:
                self._made.popitem(last=False)
        self._made.move_to_end(parts)
        return task.result() if task.done() else await asyncio.shield(task)


def _made(authority: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        if certificate is not None and key is not None:
            _show(context, certificate, key)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(f"the webhook's certificate, key or authority cannot be used: {error}") from error
    return context


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """`ssl` reads files alone. These are gone before anything is sent."""
    with TemporaryDirectory(prefix="messagebroker-") as folder:
        pair = Path(folder) / "pair.pem"
        write_secret(pair, f"{certificate}\n{key}\n".encode())
        context.load_cert_chain(pair, password=bytes)  # an empty one; else OpenSSL would ask the terminal
