"""The tables. Sizes in bytes, times in UTC; `status` holds the words that operators' SQL uses."""

from __future__ import annotations

from messagebroker.db.models.audit import AuditEntry, AuditSeal
from messagebroker.db.models.messages import (
    FINAL_STATUSES,
    OPEN_STATUSES,
    PRIORITIES,
    STATUSES,
    DataKey,
    IngestFailure,
    Message,
    MessageAlias,
)
from messagebroker.db.models.people import (
    Announcement,
    Group,
    GroupMember,
    GroupTopic,
    PasswordReset,
    RecoveryCode,
    Session,
    User,
)
from messagebroker.db.models.senders import Certificate, CertificateWarning, Client
from messagebroker.db.models.system import BEAT_SECONDS, FRESH, Heartbeat, PeriodicJob, PolicyNumber

ALL = (
    DataKey,
    Message,
    MessageAlias,
    IngestFailure,
    User,
    RecoveryCode,
    Session,
    PasswordReset,
    Group,
    GroupMember,
    GroupTopic,
    Announcement,
    AuditEntry,
    AuditSeal,
    Client,
    Certificate,
    CertificateWarning,
    PolicyNumber,
    PeriodicJob,
    Heartbeat,
)
"""In an order in which they can be created."""

__all__ = [
    "ALL",
    "BEAT_SECONDS",
    "FINAL_STATUSES",
    "FRESH",
    "OPEN_STATUSES",
    "PRIORITIES",
    "STATUSES",
    "Announcement",
    "AuditEntry",
    "AuditSeal",
    "Certificate",
    "CertificateWarning",
    "Client",
    "DataKey",
    "Group",
    "GroupMember",
    "GroupTopic",
    "Heartbeat",
    "IngestFailure",
    "Message",
    "MessageAlias",
    "PasswordReset",
    "PeriodicJob",
    "PolicyNumber",
    "RecoveryCode",
    "Session",
    "User",
]
