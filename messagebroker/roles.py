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

    @property
    def command(self) -> tuple[str, ...]:
        """The words after the program's name that start this role."""
        return ("run", self.name)


SERVERS = ("mysql", "redis")
"""What must run before any role, in start order."""

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
    ),
)
"""In the order in which operators read about them and `up` starts them; stop order is the reverse."""

BY_NAME = {role.name: role for role in ROLES}
NAMES = tuple(BY_NAME)
