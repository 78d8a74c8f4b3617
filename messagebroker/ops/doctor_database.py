"""Doctor: the database server, what this user may do there, and the programs for dumps."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import peewee as pw

from messagebroker.db import inspection, schema
from messagebroker.db.address import Address
from messagebroker.db.connection import connected, error_number, open_database
from messagebroker.errors import BrokerError, ConfigurationError
from messagebroker.ops import dump_tools
from messagebroker.ops.findings import Finding, Findings
from messagebroker.settings import Settings

OLDEST = {"MySQL": (8, 0), "MariaDB": (10, 6)}
RIGHTS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "INDEX", "REFERENCES"})
DUMP_RIGHTS = frozenset({"LOCK TABLES", "TRIGGER", "EVENT", "CREATE ROUTINE", "ALTER ROUTINE"})
_SPARE_CONNECTIONS = 10  # for operators, dumps and monitoring
_LEAST_PACKET = 8 << 20
_GRANT = re.compile(r"GRANT (?P<rights>.+?) ON (?:TABLE )?(?P<scope>\S+) TO ", re.IGNORECASE)
_findings = Findings("database")


def check(settings: Settings) -> Iterator[Finding]:
    """Reachable, then everything else."""
    path = Path(settings.database.removeprefix("sqlite:///"))
    if settings.is_sqlite and not path.exists():
        yield _findings.warning(f"there is no database {path} yet", "`messagebroker up` or `messagebroker db upgrade` makes it")
        return
    try:
        open_database(settings)
        start = time.perf_counter()
        with connected():
            server = inspection.server()
            yield _findings.ok(f"{server} answers in {(time.perf_counter() - start) * 1000:.0f} ms")
            yield from _sqlite(settings) if settings.is_sqlite else _mysql(settings, server)
            yield from _schema()
    except pw.PeeweeException as error:
        yield _refused(settings, error)
    except ConfigurationError as error:
        yield _findings.error(str(error), "correct DATABASE_URL")
        return
    except BrokerError as error:
        yield _findings.error(str(error), "start the server, or set DATABASE_URL to where it is")
    if not settings.is_sqlite:
        yield from _programs()


def _refused(settings: Settings, error: pw.PeeweeException) -> Finding:
    number = error_number(error)
    name = Address.of(settings).name
    if number in {1044, 1045, 1698}:
        return _findings.error(f"the database refuses this user: {error}", "set DATABASE_URL to the right user and password")
    if number == 1049:
        fix = f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4; then `messagebroker db upgrade`"
        return _findings.error(f"the server has no database {name}", fix)
    return _findings.error(f"the database fails: {error}", "see the database server's log")


def _mysql(settings: Settings, server: str) -> Iterator[Finding]:
    yield from _version(server)
    yield from _rights(settings)
    yield from _charset()
    yield _connections(settings)
    yield _encryption(Address.of(settings))
    yield from _durability()
    if (packet := int(inspection.variable("max_allowed_packet") or _LEAST_PACKET)) < _LEAST_PACKET:
        text = f"max_allowed_packet is {packet >> 20} MiB, statements have up to 4 MiB"
        yield _findings.error(text, "in my.cnf under [mysqld]: `max_allowed_packet = 16M`")


def _durability() -> Iterator[Finding]:
    if (flush := inspection.variable("innodb_flush_log_at_trx_commit")) not in {"1", None}:
        text = f"innodb_flush_log_at_trx_commit is {flush}: a power cut loses committed messages"
        yield _findings.warning(text, "in my.cnf under [mysqld]: `innodb_flush_log_at_trx_commit = 1`")
    if inspection.variable("log_bin") == "ON" and (sync := inspection.variable("sync_binlog")) != "1":
        # with a binary log, recovery keeps what that log holds and rolls back the rest
        text = f"there is a binary log and sync_binlog is {sync}: a power cut loses committed messages"
        yield _findings.warning(text, "in my.cnf under [mysqld]: `sync_binlog = 1`")


def _encryption(address: Address) -> Finding:
    version = inspection.encryption()
    if not version and not address.is_near:
        return _findings.warning(f"the connection to {address.host} is not encrypted", "turn on TLS in the server")
    checked = "checked" if address.ssl_ca else "not checked (`?ssl_ca=FILE` in DATABASE_URL does)"
    return _findings.ok(f"{version}, the server's certificate is {checked}" if version else "not encrypted")


def _version(server: str) -> Iterator[Finding]:
    kind, _, version = server.partition(" ")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST[kind]:
        yield _findings.error(f"{server} is too old", "install MySQL 8.0 or newer, or MariaDB 10.6 or newer")


def granted(lines: list[str], database: str) -> tuple[set[str], bool]:
    """The rights on a database in the lines of SHOW GRANTS, and whether there may be more through a role."""
    rights: set[str] = set()
    through_role = False
    for line in lines:
        found = _GRANT.match(line)
        if found is None:
            through_role = through_role or not line.upper().startswith("SET DEFAULT ROLE")
        elif _covers(found["scope"], database):
            rights |= {right.strip().upper() for right in found["rights"].split(",")}
    return rights, through_role


def _covers(scope: str, database: str) -> bool:
    name, _, table = scope.rpartition(".")
    if table.strip("`") != "*":
        return False
    pattern = re.sub(r"\\?.", lambda part: {"%": ".*", "_": "."}.get(part[0], re.escape(part[0][-1])), name.strip("`"))
    return name == "*" or re.fullmatch(pattern, database) is not None


def _rights(settings: Settings) -> Iterator[Finding]:
    name = Address.of(settings).name
    rights, through_role = granted(inspection.grants(), name)
    if "ALL PRIVILEGES" in rights or "ALL" in rights or rights >= RIGHTS | DUMP_RIGHTS:
        yield _findings.ok(f"this user may do all that is needed in {name}")
        return
    grant = "GRANT {} ON `" + name + "`.* TO this user"
    missing, missing_for_dumps = RIGHTS - rights, DUMP_RIGHTS - rights - {"CREATE ROUTINE", "ALTER ROUTINE"}
    if missing and through_role:
        yield _findings.warning(
            "this user's rights come through a role and cannot be checked", f"make sure it has {_listed(RIGHTS)}"
        )
    elif missing:
        yield _findings.error(f"this user lacks {_listed(missing)} on {name}", grant.format(_listed(missing)))
    elif missing_for_dumps:
        text = f"this user lacks {_listed(missing_for_dumps)} on {name}, which backups need"
        yield _findings.error(text, grant.format(_listed(missing_for_dumps)))
    else:
        yield _findings.ok(f"this user may do all that is needed in {name}")


def _listed(rights: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(rights))


def _charset() -> Iterator[Finding]:
    if others := inspection.tables_in_other_charsets():
        yield _findings.error(
            f"not utf8mb4: {', '.join(others)}", f"ALTER TABLE `{others[0]}` CONVERT TO CHARACTER SET utf8mb4"
        )
    elif (charset := inspection.default_charset()) != "utf8mb4":
        text = f"the database's character set is {charset}; the tables say utf8mb4 themselves"
        yield _findings.warning(text, "ALTER DATABASE CHARACTER SET utf8mb4")
    else:
        yield _findings.ok("character set utf8mb4")


def _connections(settings: Settings) -> Finding:
    processes = settings.worker_count + 2  # main and scheduler
    needed = processes * settings.database_pool_size + _SPARE_CONNECTIONS
    limits = [int(inspection.variable(name) or 0) for name in ("max_connections", "max_user_connections")]
    limit = min(number for number in limits if number)
    text = (
        f"{processes} processes with pools of {settings.database_pool_size} and {_SPARE_CONNECTIONS} to spare "
        f"make {needed} connections; the server allows {limit}"
    )
    if needed > limit:
        return _findings.error(text, f"in my.cnf under [mysqld]: `max_connections = {needed}`, or a smaller DATABASE_POOL_SIZE")
    return _findings.ok(text)


def _sqlite(settings: Settings) -> Iterator[Finding]:
    if (found := inspection.quick_check()) != "ok":
        yield _findings.error(f"the database file is damaged: {found}", "`messagebroker backup restore` the newest backup")
    if settings.environment == "production" and not settings.allow_sqlite_in_production:
        yield _findings.error("production runs on SQLite", "set DATABASE_URL to a MySQL or MariaDB server")


def _schema() -> Iterator[Finding]:
    if not inspection.tables():  # asking for the status would make its table
        yield _findings.error("the database is empty", "`messagebroker db upgrade`")
        return
    found = schema.status()
    if found.unknown:
        text = f"the schema is newer than this program ({', '.join(found.unknown)})"
        yield _findings.error(text, "install the newer version of Message Broker")
    elif found.missing:
        yield _findings.error(f"the schema lacks {', '.join(found.missing)}", "`messagebroker db upgrade`")
    else:
        yield _findings.ok(f"the schema is current ({found.applied[-1]})")


def _programs() -> Iterator[Finding]:
    for find, purpose in ((dump_tools.dumper, "backups"), (dump_tools.loader, "restores")):
        try:
            yield _findings.ok(f"{purpose}: {dump_tools.version(find())}")
        except ConfigurationError as error:
            yield _findings.error(f"{purpose} do not work: {error}", "install the client, then run doctor again")
