"""Revoking certificates: in the CA's folder first, then in the database with an audit row, then on every server."""

from __future__ import annotations

from dataclasses import dataclass

from messagebroker.errors import BrokerError, Conflict, NotFound, Unavailable
from messagebroker.ops import audit, certificate_list, clock, policy, registry
from messagebroker.ops.audit import Actor
from messagebroker.ops.ca_folder import CaFolder, Issued, Revocation
from messagebroker.ops.clients import row_of
from messagebroker.settings import Settings


class NotPublished(Unavailable):
    """Revoked for good; the servers do not know it yet."""

    def __init__(self, serials: list[str]) -> None:
        super().__init__("revoked for good, but the servers could not be told yet; main tells them as soon as Redis answers")
        self.serials = serials


@dataclass(frozen=True, kw_only=True)
class Revoked:
    """What was revoked, and the number of the policy that says so."""

    serials: list[str]
    policy_number: int


def revoke(settings: Settings, serial: str, reason: str, actor: Actor) -> Revoked:
    """Revokes one certificate; when this returns, the servers have been told. May be repeated.

    Raises:
        NotFound: there is no such certificate.
        Conflict: it has ended.
        NotPublished: it is revoked, but the servers could not be told yet.
    """
    found = certificate_list.find(settings, serial)
    if found.status == "expired":
        raise Conflict(f"it ended on {found.not_after:%Y-%m-%d}, and is refused anyway")
    with registry.alone(settings, found.kind, found.name):
        _revoke(settings, [found], reason, actor)
    return _told(settings, [found])


def revoke_all(settings: Settings, name: str, reason: str, actor: Actor) -> Revoked:
    """Revokes every certificate of a client that has not ended, as `revoke`.

    Raises:
        NotFound: there is no such client, or it has none.
        NotPublished: they are revoked, but the servers could not be told yet.
    """
    with registry.alone(settings, "client", name):
        row_of(name)
        found = [one for one in registry.certificates_of("client", name) if one.status != "expired"]
        if not found:
            raise NotFound(f"{name} has no certificate that is still valid")
        _revoke(settings, found, reason, actor)
    return _told(settings, found)


def _revoke(settings: Settings, chosen: list[Issued], reason: str, actor: Actor) -> None:
    folder = CaFolder(settings)
    for one in chosen:  # first, so that no restored database can bring it back
        folder.record_revocation(one.serial, clock.now(), reason)
    for one in chosen:
        registry.register(one)  # it may be that only the folder knows it
        registry.revoke(one.serial, folder.revocation(one.serial) or Revocation(clock.now(), reason))
        details = {"holder": f"{one.kind}:{one.name}", "reason": reason}
        audit.record_by(actor, "certificate.revoke", "certificate", one.serial, details)


def _told(settings: Settings, revoked: list[Issued]) -> Revoked:
    serials = [one.serial for one in revoked]
    try:
        return Revoked(serials=serials, policy_number=policy.publish(settings))
    except BrokerError as error:
        raise NotPublished(serials) from error
