"""What every home must give a role: one plan for each, made from the table of roles and from nothing else.

Windows services and systemd units are written from these plans; the Compose file is tested against them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from messagebroker.roles import RESTART_SECONDS, ROLES, SERVERS, Role
from messagebroker.settings import Settings

PRODUCT = "Message Broker"
HEALTH_WAIT_SECONDS = 60
"""How long a start waits for a role to become ready before what comes after it starts anyway."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """The one port that a role listens on."""

    setting: str  # the variable that moves it: PROXY_PORT
    number: int  # unless that variable says otherwise
    scheme: str  # "https" or "http"

    @property
    def published(self) -> bool:
        """Whether other machines may reach it (firewall rule, published port); plain HTTP stays inside."""
        return self.scheme == "https"


@dataclass(frozen=True, kw_only=True)
class ServicePlan:
    """One role as a service. Paths are below ROOT, which is also the working directory."""

    role: str
    name: str  # of the Windows service: MessageBrokerProxy
    display_name: str  # for people: Message Broker Proxy
    summary: str
    unit: str  # messagebroker-proxy: the systemd unit, without its ending
    account: str  # that runs it, where services have POSIX accounts
    command: tuple[str, ...]  # after the program's name: ("run", "proxy")
    health: tuple[str, ...]  # after the program's name: ("health", "proxy"); exit code 0 = ready
    folder: str  # the role's home, inside ROOT
    port: Port | None
    needs: tuple[str, ...]  # roles and servers ("mysql", "redis") that start before
    restart_seconds: tuple[int, ...]  # delays after the first, second, and every later failure; it is never given up
    log_file: str  # inside LOG_FILE_PATH, which all roles share
    stop_seconds: int  # from the request to stop until it is killed

    @property
    def needs_roles(self) -> tuple[str, ...]:
        """The other roles that start before."""
        return tuple(need for need in self.needs if need not in SERVERS)

    @property
    def needs_servers(self) -> tuple[str, ...]:
        """The servers that start before: of "mysql" and "redis"."""
        return tuple(need for need in self.needs if need in SERVERS)

    @property
    def writes_backups(self) -> bool:
        """Whether BACKUP_DIR belongs to this role."""
        return self.role == "main"

    def home(self, root: PurePath) -> PurePath:
        """The role's own folder: its certificate, its secrets, its state."""
        return root / self.folder

    def environment(self, root: PurePath) -> dict[str, str]:
        """What the service's process gets beside the system's variables. All else is in ROOT/.env and in its home's .env."""
        return {"DATA_DIR": str(self.home(root))}


def plan_of(role: Role) -> ServicePlan:
    """The plan for one role."""
    return ServicePlan(
        role=role.name,
        name=role.service,
        display_name=f"{PRODUCT} {_in_words(role.service)}",
        summary=role.summary,
        unit=f"messagebroker-{role.name}",
        account=role.account,
        command=role.command,
        health=("health", role.name),
        folder=role.folder,
        port=_port(role),
        needs=role.needs,
        restart_seconds=RESTART_SECONDS,
        log_file=role.log_file,
        stop_seconds=role.stop_seconds,
    )


def _in_words(service: str) -> str:
    """`Main Server` of MessageBrokerMainServer."""
    letters = service.removeprefix("MessageBroker")
    return "".join(f" {letter}" if letter.isupper() else letter for letter in letters).strip()


def _port(role: Role) -> Port | None:
    if role.port_setting is None or role.scheme is None:
        return None
    number: int = Settings.model_fields[role.port_setting].default
    return Port(setting=role.port_setting.upper(), number=number, scheme=role.scheme)


PLANS: tuple[ServicePlan, ...] = tuple(plan_of(role) for role in ROLES)
"""One plan a role, in the table's order; `order.start_order` says in which they start."""

PLAN_OF = {plan.role: plan for plan in PLANS}
