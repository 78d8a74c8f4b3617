"""The Python client: `MessageBroker` (or `AsyncMessageBroker`) for senders, `ApiClient` (or `Async…`) for people's tools."""

from messagebroker.client.answers import (
    BatchItem,
    BatchResult,
    Counts,
    HourCount,
    IssuedCertificate,
    Message,
    MessagePage,
    Submitted,
)
from messagebroker.client.api import ApiClient, AsyncApiClient
from messagebroker.client.async_broker import AsyncMessageBroker
from messagebroker.client.broker import MessageBroker
from messagebroker.client.errors import ClientError, Problem, SetupError, Unreachable
from messagebroker.client.requests import Caller
from messagebroker.client.retry import NEVER, Retry
from messagebroker.client.submission import CloudEvent, Draft

__all__ = [
    "NEVER",
    "ApiClient",
    "AsyncApiClient",
    "AsyncMessageBroker",
    "BatchItem",
    "BatchResult",
    "Caller",
    "ClientError",
    "CloudEvent",
    "Counts",
    "Draft",
    "HourCount",
    "IssuedCertificate",
    "Message",
    "MessageBroker",
    "MessagePage",
    "Problem",
    "Retry",
    "SetupError",
    "Submitted",
    "Unreachable",
]
