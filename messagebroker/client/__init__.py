"""The Python client: `MessageBroker` for senders, `PullClient` for who takes messages, `ApiClient` for people's tools.

Each has a twin for asyncio: `AsyncMessageBroker` and so on.
"""

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
from messagebroker.client.pull_client import AsyncPullClient, PullClient
from messagebroker.client.pulls import LeaseResult, LeaseResults, Pulled, PulledMessage
from messagebroker.client.requests import Caller
from messagebroker.client.retry import NEVER, Retry
from messagebroker.client.submission import CloudEvent, Draft

__all__ = [
    "NEVER",
    "ApiClient",
    "AsyncApiClient",
    "AsyncMessageBroker",
    "AsyncPullClient",
    "BatchItem",
    "BatchResult",
    "Caller",
    "ClientError",
    "CloudEvent",
    "Counts",
    "Draft",
    "HourCount",
    "IssuedCertificate",
    "LeaseResult",
    "LeaseResults",
    "Message",
    "MessageBroker",
    "MessagePage",
    "Problem",
    "PullClient",
    "Pulled",
    "PulledMessage",
    "Retry",
    "SetupError",
    "Submitted",
    "Unreachable",
]
