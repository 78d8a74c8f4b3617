"""Everything that can be misconfigured, looked at in one go. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from messagebroker.errors import BrokerError
from messagebroker.ops import (
    doctor_certificates,
    doctor_database,
    doctor_deliveries,
    doctor_files,
    doctor_machine,
    doctor_ports,
    doctor_redis,
    doctor_settings,
)
from messagebroker.ops.findings import Check, Finding, Findings
from messagebroker.settings import Settings

CHECKS: dict[str, Check] = {
    "settings": doctor_settings.check,
    "disk": doctor_machine.disk,
    "ports": doctor_ports.check,
    "secrets": doctor_files.secrets,
    "certificates": doctor_certificates.check,
    "redis": doctor_redis.check,
    "database": doctor_database.check,
    "deliveries": doctor_deliveries.check,
    "clock": doctor_machine.clocks,
    "backups": doctor_files.backups,
}
"""In the order in which they are shown; each stands for itself."""


def run(settings: Settings) -> Iterator[Finding]:
    """The findings of every check, as they come."""
    for name, check in CHECKS.items():
        try:
            yield from check(settings)
        except BrokerError as error:
            yield Findings(name).error(str(error), "")
        except Exception as error:  # noqa: BLE001 - the other checks still have something to say
            yield Findings(name).error(
                f"the check itself failed: {type(error).__name__}: {error}", "please report this as a bug of `doctor`"
            )
