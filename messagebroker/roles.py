"""The one table of roles: what `up`, services, Compose, health checks and docs are made from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Role:
    """One kind of process of the system."""

    name: str  # as in `messagebroker run NAME` and `urn:messagebroker:component:NAME`
    summary: str  # one line for people
    entry: str  # "module:function"; called as function(settings, stop_event)
    service: str  # the Windows service's name
    port_setting: str | None  # the field of Settings that holds the port
    scheme: str | None  # of the port: "https" or "http"
    health: str | None  # the path that answers 200 while the role is alive; None: a heartbeat row
    needs: tuple[str, ...]  # roles and servers that start before
    log_file: str  # inside LOG_FILE_PATH
    stop_seconds: int  # how long a stop may take before it is forced
    folder: str  # its home, inside the installation's root: DATA_DIR of its process
    variables: tuple[str, ...]  # of SECRET_VARIABLES, those that its home's .env holds
    files: tuple[str, ...]  # of SECRET_FILES, those that its home holds
    has_certificate: bool = True  # `component:NAME`, with its key and ca.crt; it renews it itself

    @property
    def command(self) -> tuple[str, ...]:
        """The words after the program's name that start this role."""
        return ("run", self.name)

    @property
    def account(self) -> str:
        """The account that runs it where services have POSIX accounts; on Windows it is `NT SERVICE\\` and `service`."""
        return f"messagebroker-{self.name}"


SERVERS = ("mysql", "redis")
"""What must run before any role, in start order."""

SECRET_VARIABLES = ("DATABASE_URL", "REDIS_URL", "REDIS_PASSWORD", "JWT_SECRET", "SMTP_PASSWORD")
"""Settings that are in no file which every role can read."""

SECRET_FILES = ("ca", "secrets/encryption.key", "secrets/sender.key", "secrets/main.secret", "secrets/recovery.pub")
"""What main's home holds beside settings and certificates, as it is called there."""

RESTART_SECONDS = (5, 30, 60)
"""A role that fell is started again after these delays; the last one goes on. The same in every home."""

GROUP = "messagebroker"
"""The group of all roles' POSIX accounts."""

_REDIS = ("REDIS_URL", "REDIS_PASSWORD")

ROLES: tuple[Role, ...] = (
    Role(
        name="main",
        summary="the core API; sole holder of the CA key; backups and key rotation",
        entry="messagebroker.http.main.serve:serve",
        service="MessageBrokerMainServer",
        port_setting="main_server_port",
        scheme="https",
        health="/health",
        needs=("mysql", "redis"),
        log_file="main_server.log",
        stop_seconds=15,
        folder="main_server",
        variables=SECRET_VARIABLES,
        files=SECRET_FILES,
    ),
    Role(
        name="proxy",
        summary="takes messages in over mutual TLS; no database, no private key",
        entry="messagebroker.http.proxy.serve:serve",
        service="MessageBrokerProxy",
        port_setting="proxy_port",
        scheme="https",
        health="/api/v1/health",
        needs=("redis", "main"),
        log_file="proxy.log",
        stop_seconds=15,
        folder="proxy",
        variables=_REDIS,
        files=("secrets/sender.key",),
    ),
    Role(
        name="worker",
        summary="stores, routes and delivers messages",
        entry="messagebroker.actors.worker:serve",
        service="MessageBrokerWorker",
        port_setting="metrics_port",
        scheme="http",
        health="/health",
        needs=("mysql", "redis", "scheduler"),
        log_file="worker.log",
        stop_seconds=60,
        folder="worker",
        variables=("DATABASE_URL", *_REDIS, "SMTP_PASSWORD"),
        files=("secrets/encryption.key",),
        has_certificate=False,
    ),
    Role(
        name="scheduler",
        summary="periodic jobs; several may run, one leads",
        entry="messagebroker.actors.scheduler:serve",
        service="MessageBrokerScheduler",
        port_setting=None,
        scheme=None,
        health=None,
        needs=("mysql", "redis"),
        log_file="scheduler.log",
        stop_seconds=15,
        folder="scheduler",
        variables=("DATABASE_URL", *_REDIS),
        files=(),
        has_certificate=False,
    ),
    Role(
        name="portal",
        summary="web pages for users and admins; no database, no keys",
        entry="messagebroker.ui.serve:serve",
        service="MessageBrokerPortal",
        port_setting="portal_port",
        scheme="https",
        health="/health",
        needs=("main",),
        log_file="portal.log",
        stop_seconds=15,
        folder="portal",
        variables=(),
        files=(),
    ),
)
"""In the order in which operators read about them and `up` starts them; stop order is the reverse."""

BY_NAME = {role.name: role for role in ROLES}
NAMES = tuple(BY_NAME)
