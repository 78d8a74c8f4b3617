"""Registered senders and the certificates that the CA issued."""

from __future__ import annotations

import peewee as pw

from messagebroker.db.fields import AsciiField, UtcField
from messagebroker.db.models.base import Base
from messagebroker.db.models.people import Group


class Client(Base):
    """A registered sender: what the policy tells the proxies about it."""

    name = AsciiField(max_length=63, primary_key=True)
    owner = pw.CharField(max_length=254, null=True)  # a user's address
    group = pw.ForeignKeyField(Group, null=True, on_delete="SET NULL")  # whose members read what it sends
    default_topic = AsciiField(max_length=200, default="messages")
    topics = pw.TextField(null=True)  # JSON list of allowed topic patterns; NULL: every topic
    rate = pw.IntegerField(null=True)  # messages a second; NULL: no limit
    max_batch = pw.IntegerField(null=True)  # items; NULL: the system's limit
    created_at = UtcField()
    disabled_at = UtcField(null=True)

    group_id: int | None  # peewee makes it

    class Meta:
        table_name = "clients"
        indexes = ((("owner", "name"), False),)


class Certificate(Base):
    """A certificate that the CA issued."""

    serial = AsciiField(max_length=40, primary_key=True)  # lower-case hex
    name = AsciiField(max_length=63, index=True)  # client's name or component's role
    kind = AsciiField(max_length=10)  # "client" or "component"
    not_before = UtcField()
    not_after = UtcField(index=True)
    pem = pw.TextField()
    revoked_at = UtcField(null=True)
    revoked_reason = pw.CharField(max_length=200, null=True)

    class Meta:
        table_name = "certificates"
        indexes = ((("name", "serial"), False),)  # MySQL would rather merge two indexes and sort than see the key in the first


class CertificateWarning(Base):
    """That somebody was told of a certificate's end: 30, 14, 7 and 1 days before it."""

    serial = AsciiField(max_length=40)
    days = pw.SmallIntegerField()
    told_at = UtcField()
    mail_due_at = UtcField(null=True)  # until the e-mail was sent

    class Meta:
        table_name = "certificate_warnings"
        primary_key = pw.CompositeKey("serial", "days")
