"""People, their sessions and groups, and what they are told."""

from __future__ import annotations

import peewee as pw

from messagebroker.db.fields import AsciiField, BytesField, FixedBytesField, UtcField
from messagebroker.db.models.base import Base


class User(Base):
    """A person who logs in to the portal or the API."""

    id = pw.AutoField()
    email = pw.CharField(max_length=254, unique=True)  # stored in lower case
    password_hash = AsciiField(max_length=255)
    role = AsciiField(max_length=20)
    must_change_password = pw.BooleanField(default=False)
    disabled_at = UtcField(null=True)
    created_at = UtcField()
    last_login_at = UtcField(null=True)
    totp_secret = BytesField(null=True)  # sealed by main; a second factor once it is confirmed
    totp_confirmed_at = UtcField(null=True)
    totp_step = pw.BigIntegerField(null=True)  # of the code that was taken last: none is taken twice

    class Meta:
        table_name = "users"


class RecoveryCode(Base):
    """Stands in for a second factor, once."""

    id = pw.AutoField()
    user = pw.ForeignKeyField(User, on_delete="CASCADE")
    code_hash = FixedBytesField(32)
    used_at = UtcField(null=True)

    class Meta:
        table_name = "recovery_codes"


class Session(Base):
    """A login of a person, kept alive by refresh tokens of which each is good once."""

    id = FixedBytesField(16, primary_key=True)
    user = pw.ForeignKeyField(User, on_delete="CASCADE", index=False)
    created_at = UtcField()
    seen_at = UtcField()  # of the last refresh
    expires_at = UtcField(index=True)
    ended_at = UtcField(null=True)
    ended_why = AsciiField(max_length=20, null=True)
    address = AsciiField(max_length=45, null=True)
    user_agent = pw.CharField(max_length=255, null=True)
    refresh_hash = FixedBytesField(32)  # of the token that is good now
    previous_hash = FixedBytesField(32, null=True)  # of the one before
    seen_from = AsciiField(max_length=45, null=True)  # who refreshed last: address
    seen_agent = pw.CharField(max_length=255, null=True)  # and user agent

    class Meta:
        table_name = "sessions"
        indexes = ((("user", "ended_at", "id", "expires_at"), False),)  # a person's, however many of them have ended


class PasswordReset(Base):
    """A token that was mailed to somebody who forgot their password."""

    token_hash = FixedBytesField(32, primary_key=True)
    user = pw.ForeignKeyField(User, on_delete="CASCADE")
    created_at = UtcField()
    expires_at = UtcField(index=True)
    used_at = UtcField(null=True)
    used_from = AsciiField(max_length=45, null=True)

    class Meta:
        table_name = "password_resets"


class Group(Base):
    """People who belong together (a class, a team). Topics are those that all of them may read."""

    id = pw.AutoField()
    name = pw.CharField(max_length=100, unique=True)
    description = pw.CharField(max_length=500, default="")
    manager = pw.ForeignKeyField(User, null=True, on_delete="SET NULL")
    created_at = UtcField()

    class Meta:
        table_name = "user_groups"


class GroupMember(Base):
    """Somebody in a group."""

    group = pw.ForeignKeyField(Group, on_delete="CASCADE")
    user = pw.ForeignKeyField(User, on_delete="CASCADE", index=False)
    added_at = UtcField()

    class Meta:
        table_name = "group_members"
        primary_key = pw.CompositeKey("group", "user")
        indexes = ((("user", "group"), False),)


class GroupTopic(Base):
    """A topic that a group is subscribed to."""

    group = pw.ForeignKeyField(Group, on_delete="CASCADE")
    topic = AsciiField(max_length=200)
    added_at = UtcField()

    class Meta:
        table_name = "group_topics"
        primary_key = pw.CompositeKey("group", "topic")


class Announcement(Base):
    """What people read on every page of the portal for a while."""

    id = pw.AutoField()
    text = pw.CharField(max_length=2000)
    severity = AsciiField(max_length=10)  # "info", "warning" or "critical"
    starts_at = UtcField()
    ends_at = UtcField()
    created_by = pw.CharField(max_length=254)
    created_at = UtcField()

    class Meta:
        table_name = "announcements"
        indexes = ((("ends_at", "id", "starts_at"), False),)  # those of now in their order, without their texts
