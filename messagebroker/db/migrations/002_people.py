"""People, groups, sessions, announcements, the audit log's chain, and the indexes that searching needs. Frozen."""

# ruff: noqa: D101

from typing import Any

import peewee as pw
from playhouse.migrate import SchemaMigrator
from playhouse.migrate import migrate as alter

from messagebroker.db.fields import AsciiField, BytesField, FixedBytesField, UtcField

_MYSQL_TABLE = ["ENGINE=InnoDB", "CHARACTER SET utf8mb4", "COLLATE utf8mb4_unicode_ci"]


class Base(pw.Model):
    class Meta:
        legacy_table_names = False


class User(Base):
    id = pw.AutoField()

    class Meta:
        table_name = "users"


class RecoveryCode(Base):
    id = pw.AutoField()
    user = pw.ForeignKeyField(User, on_delete="CASCADE")
    code_hash = FixedBytesField(32)
    used_at = UtcField(null=True)

    class Meta:
        table_name = "recovery_codes"


class Session(Base):
    id = FixedBytesField(16, primary_key=True)
    user = pw.ForeignKeyField(User, on_delete="CASCADE", index=False)
    created_at = UtcField()
    seen_at = UtcField()
    expires_at = UtcField(index=True)
    ended_at = UtcField(null=True)
    ended_why = AsciiField(max_length=20, null=True)
    address = AsciiField(max_length=45, null=True)
    user_agent = pw.CharField(max_length=255, null=True)
    refresh_hash = FixedBytesField(32)
    previous_hash = FixedBytesField(32, null=True)
    seen_from = AsciiField(max_length=45, null=True)
    seen_agent = pw.CharField(max_length=255, null=True)

    class Meta:
        table_name = "sessions"
        indexes = ((("user", "ended_at", "id", "expires_at"), False),)


class PasswordReset(Base):
    token_hash = FixedBytesField(32, primary_key=True)
    user = pw.ForeignKeyField(User, on_delete="CASCADE")
    created_at = UtcField()
    expires_at = UtcField(index=True)
    used_at = UtcField(null=True)
    used_from = AsciiField(max_length=45, null=True)

    class Meta:
        table_name = "password_resets"


class Group(Base):
    id = pw.AutoField()
    name = pw.CharField(max_length=100, unique=True)
    description = pw.CharField(max_length=500, default="")
    manager = pw.ForeignKeyField(User, null=True, on_delete="SET NULL")
    created_at = UtcField()

    class Meta:
        table_name = "user_groups"


class GroupMember(Base):
    group = pw.ForeignKeyField(Group, on_delete="CASCADE")
    user = pw.ForeignKeyField(User, on_delete="CASCADE", index=False)
    added_at = UtcField()

    class Meta:
        table_name = "group_members"
        primary_key = pw.CompositeKey("group", "user")
        indexes = ((("user", "group"), False),)


class GroupTopic(Base):
    group = pw.ForeignKeyField(Group, on_delete="CASCADE")
    topic = AsciiField(max_length=200)
    added_at = UtcField()

    class Meta:
        table_name = "group_topics"
        primary_key = pw.CompositeKey("group", "topic")


class Announcement(Base):
    id = pw.AutoField()
    text = pw.CharField(max_length=2000)
    severity = AsciiField(max_length=10)
    starts_at = UtcField()
    ends_at = UtcField()
    created_by = pw.CharField(max_length=254)
    created_at = UtcField()

    class Meta:
        table_name = "announcements"
        indexes = ((("ends_at", "id", "starts_at"), False),)


class AuditSeal(Base):
    seq = pw.BigIntegerField(primary_key=True, constraints=[pw.Check("seq > 0")])
    audit_id = pw.BigIntegerField(unique=True)
    mac = FixedBytesField(32)

    class Meta:
        table_name = "audit_seals"


class CertificateWarning(Base):
    serial = AsciiField(max_length=40)
    days = pw.SmallIntegerField()
    told_at = UtcField()
    mail_due_at = UtcField(null=True)

    class Meta:
        table_name = "certificate_warnings"
        primary_key = pw.CompositeKey("serial", "days")


NEW = (
    RecoveryCode,
    Session,
    PasswordReset,
    Group,
    GroupMember,
    GroupTopic,
    Announcement,
    AuditSeal,
    CertificateWarning,
)

COLUMNS: tuple[tuple[str, str, pw.Field], ...] = (
    ("users", "totp_secret", BytesField(null=True)),
    ("users", "totp_confirmed_at", UtcField(null=True)),
    ("users", "totp_step", pw.BigIntegerField(null=True)),
    ("audit_log", "signature", FixedBytesField(24, null=True)),
    ("clients", "group_id", pw.ForeignKeyField(Group, field=Group.id, null=True, on_delete="SET NULL")),
)

INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "messages": (("client_id", "status", "id"), ("topic", "status", "id"), ("correlation_id", "id"), ("sender_hash", "id")),
    "audit_log": (("actor", "created_at"), ("action", "created_at"), ("object_type", "object_id", "created_at")),
    "clients": (("owner", "name"),),
    "certificates": (("name", "serial"),),
    "ingest_failures": (("failed_at", "id"),),
}


def migrate(migrator: Any, database: pw.Database, *, fake: bool = False) -> None:
    """Each step looks first whether it was done: MySQL commits every one of them by itself."""
    del fake
    for model in NEW:
        migrator.run(_create, database, model)
    for table, name, field in COLUMNS:
        migrator.run(_add_column, database, table, name, field)
    for table, wanted in INDEXES.items():
        migrator.run(_add_indexes, database, table, wanted)


def _create(database: pw.Database, model: type[pw.Model]) -> None:
    model._meta.table_settings = _MYSQL_TABLE if isinstance(database, pw.MySQLDatabase) else None
    with model.bind_ctx(database):
        model.create_table(safe=True)


def _add_column(database: pw.Database, table: str, name: str, field: pw.Field) -> None:
    if name not in {column.name for column in database.get_columns(table)}:
        alter(SchemaMigrator.from_database(database).add_column(table, name, field))


def _add_indexes(database: pw.Database, table: str, wanted: tuple[tuple[str, ...], ...]) -> None:
    """All of a table's in one statement where the database can: it reads the table once."""
    present = {tuple(index.columns) for index in database.get_indexes(table)}
    names = {f"{table}_{'_'.join(columns)}": columns for columns in wanted if columns not in present}
    if names and isinstance(database, pw.MySQLDatabase):
        added = ", ".join(f"ADD INDEX `{name}` ({', '.join(f'`{column}`' for column in names[name])})" for name in names)
        database.execute_sql(f"ALTER TABLE `{table}` {added}")
    elif names:
        for name, columns in names.items():
            database.execute_sql(f'CREATE INDEX "{name}" ON "{table}" ({", ".join(columns)})')


def rollback(migrator: Any, database: pw.Database, *, fake: bool = False) -> None:
    """Migrations go forward only; the way back is a backup."""
    raise NotImplementedError("restore the backup from before the upgrade")
