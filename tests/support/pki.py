"""A certificate authority of the product's own making, with secrets, a database and Redis behind it."""

from __future__ import annotations

from pathlib import Path

import redis as redis_py

from messagebroker.ops import certificates, keyring
from messagebroker.ops.ca_folder import CaFolder
from messagebroker.ops.identity import Peer, peer_of_certificate
from messagebroker.ops.pki import load_certificate
from messagebroker.ops.redis_client import POLICY
from messagebroker.ops.snapshot import Policy, verify
from messagebroker.settings import Settings, load


def installed(folder: Path, redis_url: str, **overrides: object) -> Settings:
    """Settings of an installation that has its CA and its first secrets."""
    settings = load({}, data_dir=folder, environment="test", redis_url=redis_url, **overrides)
    certificates.init_ca(settings)
    keyring.first_secrets(settings)
    return settings


def peer(bundle: certificates.Bundle) -> Peer:
    """Whom a server sees when the bundle's certificate is shown."""
    return peer_of_certificate(load_certificate(bundle.certificate.read_bytes()))


def published(settings: Settings) -> Policy:
    """The policy in Redis."""
    with redis_py.Redis.from_url(settings.redis) as client:
        snapshot = client.get(POLICY)
    assert isinstance(snapshot, bytes)
    return verify(snapshot, CaFolder(settings).ca.certificate)
