"""The clients for main's API: for threads and for asyncio. What they can do is in the files of the nouns."""

from __future__ import annotations

from messagebroker.client.announcements import AnnouncementMethods
from messagebroker.client.answers import IssuedCertificate
from messagebroker.client.audit import AuditMethods
from messagebroker.client.auth import AuthMethods
from messagebroker.client.breakers import BreakerMethods
from messagebroker.client.certificates import CertificateMethods
from messagebroker.client.clients import ClientMethods
from messagebroker.client.dead_letters import DeadLetterMethods
from messagebroker.client.failures import FailureMethods
from messagebroker.client.groups import GroupMethods
from messagebroker.client.inbox import InboxMethods
from messagebroker.client.messages import MessageMethods
from messagebroker.client.queues import QueueMethods
from messagebroker.client.renewal import OF_COMPONENTS
from messagebroker.client.second_factor import SecondFactorMethods
from messagebroker.client.sessions import SessionMethods
from messagebroker.client.subscriptions import SubscriptionMethods
from messagebroker.client.system import SystemMethods
from messagebroker.client.timeline import TimelineMethods
from messagebroker.client.topics import TopicMethods
from messagebroker.client.transport import AsyncTransport, Transport
from messagebroker.client.users import UserMethods
from messagebroker.client.webhooks import WebhookMethods


class _Methods(
    AuthMethods,
    SecondFactorMethods,
    SessionMethods,
    UserMethods,
    GroupMethods,
    ClientMethods,
    CertificateMethods,
    TopicMethods,
    MessageMethods,
    TimelineMethods,
    InboxMethods,
    FailureMethods,
    BreakerMethods,
    SubscriptionMethods,
    WebhookMethods,
    DeadLetterMethods,
    QueueMethods,
    AnnouncementMethods,
    SystemMethods,
    AuditMethods,
):
    """What both clients can do."""


class ApiClient(Transport, _Methods):
    """Main's API, for threads. `caller` says on whose behalf a call is made."""

    def renew_component_certificate(self, *, only_when_due: bool = False) -> IssuedCertificate | None:
        """For a role of the system that shows its own certificate: a new one in its place; None when that is not due."""
        return self.renewed(OF_COMPONENTS, only_when_due=only_when_due)


class AsyncApiClient(AsyncTransport, _Methods):
    """Main's API, for asyncio: every method is awaited. `caller` says on whose behalf a call is made."""

    async def renew_component_certificate(self, *, only_when_due: bool = False) -> IssuedCertificate | None:
        """For a role of the system that shows its own certificate: a new one in its place; None when that is not due."""
        return await self.renewed(OF_COMPONENTS, only_when_due=only_when_due)
