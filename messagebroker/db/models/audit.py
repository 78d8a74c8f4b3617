"""The audit log and the chain over it."""

from __future__ import annotations

import peewee as pw

from messagebroker.db.fields import AsciiField, FixedBytesField, UtcField
from messagebroker.db.models.base import Base


class AuditEntry(Base):
    """Who did what to which object. Only ever inserted."""

    id = pw.BigAutoField()
    created_at = UtcField(index=True)  # with the row's id at its end, as every index has it
    actor = pw.CharField(max_length=254)  # "user:EMAIL", "client:NAME", "component:ROLE", "cli:OS-USER"
    action = AsciiField(max_length=64)  # "message.read", "certificate.revoke", …
    object_type = AsciiField(max_length=32)
    object_id = pw.CharField(max_length=254)
    address = AsciiField(max_length=45, null=True)
    user_agent = pw.CharField(max_length=255, null=True)
    details = pw.TextField(null=True)  # JSON, without secrets
    signature = FixedBytesField(24, null=True)  # who has main's secret wrote it; NULL: before there were signatures

    class Meta:
        table_name = "audit_log"
        indexes = (
            (("actor", "created_at"), False),
            (("action", "created_at"), False),
            (("object_type", "object_id", "created_at"), False),
        )


class AuditSeal(Base):
    """One link of the chain over the audit log, in the order in which main found the rows. Only ever inserted."""

    seq = pw.BigIntegerField(primary_key=True, constraints=[pw.Check("seq > 0")])  # 1, 2, 3, … without gaps
    audit_id = pw.BigIntegerField(unique=True)
    mac = FixedBytesField(32)  # over the link before and the row

    class Meta:
        table_name = "audit_seals"
