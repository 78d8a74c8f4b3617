"""Opening what proxies sealed: for people, who leave an audit row each time, and for the client that sent it."""

from __future__ import annotations

from typing import Any

import msgspec

from messagebroker.db.connection import connected, database
from messagebroker.db.models import DataKey, Message
from messagebroker.errors import Damaged, NotFound, Refused
from messagebroker.ops import audit, clock, ids
from messagebroker.ops.audit import Actor
from messagebroker.ops.keyring import KeyRing
from messagebroker.ops.messages import PLAIN, MessageView, plain_members, row_of
from messagebroker.ops.records import Payload, SealedKey, decode_payload
from messagebroker.ops.scope import Scope
from messagebroker.settings import Settings


class OpenedView(MessageView, kw_only=True):
    """A message with what was sealed. A binary body is in `body_base64`, and `body` is null."""

    body: str | None
    body_base64: bytes | None
    sender: str | None
    metadata: dict[str, Any] | None
    content_type: str | None


class Opener:
    """Opens what proxies sealed, with the private master keys.

    A key that was made after this process started is looked for in the file before giving up.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ring = KeyRing.load(settings)

    def for_person(self, message_id: bytes, actor: Actor, scope: Scope | None = None) -> OpenedView:
        """The whole message. The audit row comes first, in the same transaction: no row, no body.

        Raises:
            NotFound: no such message is stored, or it is outside of the person's scope.
        """
        with connected():
            known = row_of(message_id, PLAIN, scope)
            with database.atomic():
                audit.record_by(actor, "message.open", "message", ids.text(bytes(known.id)), {"client": known.client_id})
                return self._opened(row_of(message_id, [*PLAIN, Message.payload], scope), message_id)

    def for_client(self, message_id: bytes, client: str) -> OpenedView:
        """The whole message, for the client that sent it.

        Raises:
            NotFound: no such message of this client is stored.
        """
        with connected():
            row = row_of(message_id, [*PLAIN, Message.payload])
            if row.client_id != client:
                raise NotFound(f"message {ids.text(message_id)} is not stored")  # as if it did not exist
            return self._opened(row, message_id)

    def _opened(self, row: Message, asked_for: bytes) -> OpenedView:
        key = DataKey.get_or_none(DataKey.id == row.data_key_id)
        if key is None:
            raise Damaged(f"data key {bytes(row.data_key_id).hex()} of message {ids.text(bytes(row.id))} is missing")
        sealed = SealedKey(bytes(key.id), bytes(key.master_key_id), bytes(key.sealed), clock.micros(key.created_at))
        try:
            data_key = self._data_key(sealed)
            payload = decode_payload(self._ring.open(bytes(row.id), row.client_id, bytes(row.payload), data_key))
        except (NotFound, Refused, msgspec.MsgspecError) as error:
            raise Damaged(f"message {ids.text(bytes(row.id))} cannot be opened: {error}") from error
        return _with_payload(plain_members(row, asked_for), payload)

    def _data_key(self, sealed: SealedKey) -> bytes:
        try:
            return self._ring.open_key(sealed)
        except NotFound:
            self._ring = KeyRing.load(self._settings)
            return self._ring.open_key(sealed)


def _with_payload(plain: dict[str, Any], payload: Payload) -> OpenedView:
    is_text = isinstance(payload.body, str)
    return OpenedView(
        **plain,
        body=payload.body if is_text else None,
        body_base64=None if is_text else payload.body,
        sender=payload.sender,
        metadata=payload.metadata,
        content_type=payload.content_type,
    )
