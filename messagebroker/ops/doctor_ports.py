"""Doctor: the ports of the roles, and who holds them."""

from __future__ import annotations

from collections.abc import Iterator

from messagebroker.ops import health, ports
from messagebroker.ops.findings import Finding, Findings
from messagebroker.roles import ROLES, Role
from messagebroker.settings import Settings

_findings = Findings("ports")


def check(settings: Settings) -> Iterator[Finding]:
    """Free, or held by the role itself."""
    for role in ROLES:
        if role.port_setting is not None:
            yield _port(settings, role, role.port_setting)


def _port(settings: Settings, role: Role, setting: str) -> Finding:
    port: int = getattr(settings, setting)
    host: str = getattr(settings, setting.replace("_port", "_host"))
    where = f"port {port} of {role.name} ({setting.upper()})"
    if port == 0 or not ports.is_taken(host, port):
        return _findings.ok(f"{where} is free: {role.name} does not run on this machine")
    holder = ports.holder(port)
    answer = health.check(settings, role.name)
    if answer.ready:
        return _findings.ok(f"{where} is held by {role.name} itself, which is ready" + (f": {holder}" if holder else ""))
    if holder is not None and holder.role is not None:
        return _findings.warning(f"{where} is held by {holder}, which is not ready: {answer.said}", f"see {role.log_file}")
    return _findings.error(
        f"{where} is held by {holder or 'a process of another user'}", f"stop that process, or set {setting.upper()} to another"
    )
