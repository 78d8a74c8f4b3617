"""In which order roles start and stop, and who has to stop with whom."""

from __future__ import annotations

from collections.abc import Collection

from messagebroker.roles import BY_NAME, ROLES, SERVERS


def start_order(roles: Collection[str] | None = None) -> list[str]:
    """These roles (all by default), each after those it needs; otherwise as in the table."""
    ordered: list[str] = []
    while len(ordered) < len(ROLES):
        started = {*SERVERS, *ordered}
        ordered.append(next(role.name for role in ROLES if role.name not in started and started >= set(role.needs)))
    return [name for name in ordered if roles is None or name in roles]


def stop_order(roles: Collection[str] | None = None) -> list[str]:
    """The reverse of the start order."""
    return start_order(roles)[::-1]


def needed_by(role: str) -> list[str]:
    """The roles that `role` needs, directly or through others, in start order."""
    found: set[str] = set()
    waiting = [role]
    while waiting:
        needs = [need for need in BY_NAME[waiting.pop()].needs if need in BY_NAME and need not in found]
        found.update(needs)
        waiting += needs
    return start_order(found)


def dependents_of(role: str) -> list[str]:
    """The roles that need `role`, directly or through others, in start order."""
    return start_order([other.name for other in ROLES if role in needed_by(other.name)])
