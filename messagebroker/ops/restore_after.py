"""What follows on a restore: others learn of it, and what is missing is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from messagebroker.db import restoring
from messagebroker.db.connection import connected
from messagebroker.errors import BrokerError
from messagebroker.ops import audit_chain, audit_head, certificates, policy
from messagebroker.ops.keyring import KeyRing
from messagebroker.settings import Settings


def notes(settings: Settings, backup: str, aside: Path) -> Iterator[str]:
    """Does it; yields what is left for people to do, in sentences.

    Args:
        settings: of the installation.
        backup: the name of the one that was restored.
        aside: the folder for files that make way.
    """
    yield from _missing_master_keys(settings)
    yield from _head_written_down(settings, backup, aside)
    yield from _published(settings)


def _missing_master_keys(settings: Settings) -> Iterator[str]:
    try:
        here = {key_id for key_id, _ in KeyRing.load(settings).keys}
    except BrokerError as error:
        yield f"no message can be read: {error}"
        return
    with connected():
        missing = sorted(key.hex() for key in restoring.master_keys() - here)
    if missing:
        yield (
            f"messages under the master keys {', '.join(missing)} cannot be read, as these are not here; a restore with the"
            " recovery key brings them back"
        )


def _head_written_down(settings: Settings, backup: str, aside: Path) -> Iterator[str]:
    """The audit log goes on from an older head, and `audit verify` must know why."""
    try:
        moved = audit_head.begin_anew(settings, audit_chain.head_now(), f"the backup {backup} was restored", aside)
    except BrokerError as error:
        yield f"the head of the audit log was not written down, so that `audit verify` will complain: {error}"
        return
    if moved is not None:
        yield f"the head file of the audit log was another installation's, or was changed; it is kept as {moved}"


def _published(settings: Settings) -> Iterator[str]:
    """Servers and database learn what was revoked since the backup, from each other; nothing is ever un-revoked."""
    try:
        certificates.register_issued(settings)
        policy.publish(settings)
    except BrokerError as error:
        yield f"the policy was not published ({error}); main does it at its next start"
