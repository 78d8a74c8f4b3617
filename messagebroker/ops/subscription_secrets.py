"""What is secret of a subscription, sealed at rest with a data key of its own, which its row names.

The data key is sealed to the installation's master key like those of messages, so that whatever changes master keys finds it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from messagebroker.db.models import DataKey, Subscription
from messagebroker.errors import Damaged, NotFound, Refused
from messagebroker.ops import clock
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.keyring import NONCE_BYTES, KeyRing
from messagebroker.ops.records import SealedKey
from messagebroker.ops.sealing import SealingKey

_PURPOSE = b"messagebroker secrets of subscription "


def sealed(ring: KeyRing, subscription_id: int, secrets: msgspec.Struct) -> dict[str, bytes]:
    """The columns that keep the secrets of this subscription; stores the data key. Inside the transaction that writes them."""
    sealing = SealingKey(ring.current_public, 0)
    key, now = sealing.key, clock.now()
    DataKey.insert(
        id=key.id,
        master_key_id=key.master_key_id,
        sealed=key.sealed,
        created_at=clock.from_micros(key.created_at),
        last_seen_at=now,
    ).execute()
    whose = str(subscription_id).encode()
    return {"secrets": sealing.seal(_PURPOSE, whose, msgspec.json.encode(secrets)), "data_key_id": key.id}


def opened(row: Subscription, ring: KeyRing) -> Any:
    """The secrets as the struct of the row's channel; None for a channel that has none. For callers with a connection.

    Raises:
        Damaged: they cannot be opened: changed, or a key is missing.
    """
    kind = CHANNELS[row.channel].secrets
    if kind is None or row.secrets is None:
        return None if kind is None else kind()
    whole = bytes(row.secrets)
    try:
        data_key = ring.open_key(_key(row))
        plain = AESGCM(data_key).decrypt(whole[:NONCE_BYTES], whole[NONCE_BYTES:], _PURPOSE + str(row.id).encode())
        return msgspec.json.decode(plain, type=kind)
    except (InvalidTag, ValueError, NotFound, Refused, msgspec.MsgspecError) as error:
        why = str(error) or "they are damaged or were changed"
        raise Damaged(f"the secrets of subscription {row.id} do not open: {why}; set them anew") from error


def _key(row: Subscription) -> SealedKey:
    found = DataKey.get_or_none(DataKey.id == row.data_key_id)
    if found is None:
        raise NotFound("their data key is missing")
    return SealedKey(bytes(found.id), bytes(found.master_key_id), bytes(found.sealed), clock.micros(found.created_at))
