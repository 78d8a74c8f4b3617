"""The rules of Windows' firewall, under the names that the deployment guide gave them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from messagebroker.ops.services.plan import PLANS
from messagebroker.ops.services.programs import Run
from messagebroker.settings import Settings

PREFIX = "Message Broker - "
_NAMES = {"main": "Main Server", "proxy": "Proxy", "portal": "Portal", "worker": "Metrics"}
_BLOCKED = {"Block MySQL External": 3306, "Block Redis External": 6379}


@dataclass(frozen=True)
class Rule:
    """One rule for connections that come in."""

    name: str
    port: int
    allow: bool
    remote: str = "any"  # "localsubnet": only this network

    @property
    def words(self) -> list[str]:
        """What netsh is told beside the name."""
        action = "allow" if self.allow else "block"
        return ["dir=in", f"action={action}", "protocol=TCP", f"localport={self.port}", f"remoteip={self.remote}", "enable=yes"]


def rules(settings: Settings) -> Iterator[Rule]:
    """One for each port of ours, metrics for this network only; the servers' ports are closed to other machines."""
    for plan in PLANS:
        if plan.port is not None:
            port = getattr(settings, plan.port.setting.lower())
            yield Rule(PREFIX + _NAMES[plan.role], port, True, "any" if plan.port.published else "localsubnet")
    for name, port in _BLOCKED.items():
        yield Rule(name, port, False)


def apply(settings: Settings, run: Run) -> list[str]:
    """Every rule as it has to be; a sentence for each that was not there. What somebody made of a block stays.

    Raises:
        Refused: this is no administrator.
    """
    changes = []
    for rule in rules(settings):
        name = f"name={rule.name}"
        # a block that somebody switched off stays so: other machines may have to reach the servers
        mend = ["set", "rule", name, "new", *rule.words] if rule.allow else ["show", "rule", name]
        changed = run(["netsh", "advfirewall", "firewall", *mend], check=False)
        if changed.code != 0:  # there is none
            run(["netsh", "advfirewall", "firewall", "add", "rule", name, *rule.words])
            changes.append(f"firewall: {rule.name}, port {rule.port}: made")
    return changes


def remove(settings: Settings, run: Run) -> list[str]:
    """Ours go; the two blocks stay, as the servers that they protect do."""
    names = [rule.name for rule in rules(settings) if rule.allow]
    answers = [run(["netsh", "advfirewall", "firewall", "delete", "rule", f"name={name}"], check=False) for name in names]
    return [f"firewall: {name}: removed" for name, answer in zip(names, answers, strict=True) if answer.code == 0]
