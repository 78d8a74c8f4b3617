"""What can go wrong between a client and the system, as seen from the client."""

from __future__ import annotations

from typing import Any

PREFIX = "urn:messagebroker:problem:"


class ClientError(Exception):
    """The base of everything that this library raises on purpose.

    `permanent` says whether sending the same again can help: False means that it can, later.
    """

    permanent = True


class SetupError(ClientError):
    """A certificate, key or CA file is missing, unreadable or does not fit the others."""


class Unreachable(ClientError):
    """No answer came, after all retries.

    `outcome` is "not-sent" when the request cannot have arrived, else "unknown". After "unknown" send the same
    again with the same `idempotency_key`: the message is stored once however often it is sent.
    """

    permanent = False

    def __init__(self, detail: str, *, outcome: str, idempotency_key: str | None = None) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.idempotency_key = idempotency_key


class Problem(ClientError):
    """The system answered with an error: an RFC 9457 problem document, or what comes closest to one.

    Attributes:
        status: the HTTP status code.
        name: the stable problem type without its prefix, such as `invalid-field`.
        detail: a sentence: what is wrong, where, what to do.
        field: the field at fault (`metadata.colour`, `items[3].topic`), if one is.
        retry_after: seconds to wait before trying again, if the system said so.
        document: the whole problem document.
        idempotency_key: the key that the refused request carried, if it had one.
    """

    def __init__(
        self,
        status: int,
        document: dict[str, Any],
        *,
        retry_after: float | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        self.status = status
        self.document = document
        self.name = str(document.get("type", "about:blank")).removeprefix(PREFIX)
        self.detail = str(document.get("detail") or document.get("title") or f"HTTP status {status}")
        field = document.get("field")
        self.field = None if field is None else str(field)
        self.retry_after = retry_after
        self.idempotency_key = idempotency_key
        super().__init__(f"{self.detail} ({status} {self.name}{f', field {self.field}' if self.field else ''})")

    @property
    def permanent(self) -> bool:  # type: ignore[override]
        """False when the same request may succeed later."""
        return self.status not in TEMPORARY


TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
