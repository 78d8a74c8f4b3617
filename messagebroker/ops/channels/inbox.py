"""Deliveries to people's inboxes: rows that the portal shows. Delivered when stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from messagebroker.db.models import Group, User
from messagebroker.db.writing import give_up_connection, writing
from messagebroker.errors import Refused, Unavailable
from messagebroker.ops import inbox
from messagebroker.ops.channels.channel import Outcome, Work
from messagebroker.ops.channels.inbox_config import InboxConfig
from messagebroker.settings import Settings

MOST_ROWS = 20_000
"""Of one transaction: a large group gets its messages in several."""


class Inbox:
    """One thread, whose connection is kept."""

    name = "inbox"
    config = InboxConfig
    secrets = None
    at_once = 1
    merges = 500

    def __init__(self, settings: Settings) -> None:
        del settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox")

    async def deliver(self, works: Sequence[Work]) -> Sequence[Outcome]:
        """All of them to the person, or to everybody who is in the group now."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _stored, works)

    async def close(self) -> None:
        """Gives the connection up."""
        self._thread.submit(give_up_connection)
        await asyncio.to_thread(self._thread.shutdown)


def _stored(works: Sequence[Work]) -> list[Outcome]:
    target = works[0].target
    outcomes: list[Outcome] = []
    try:
        left = list(works)
        while left:
            with writing():
                people = _people(target.config)
                part, left = _split(left, len(people))
                inbox.add([work.message_id for work in part], people, target.id)
            outcomes += [Outcome(kind="delivered")] * len(part)
    except Refused as error:
        outcomes += [Outcome(kind="failed", error=str(error))] * (len(works) - len(outcomes))
    except Unavailable as error:
        outcomes += [Outcome(kind="retry", error=str(error))] * (len(works) - len(outcomes))
    return outcomes


def _split(works: list[Work], people: int) -> tuple[list[Work], list[Work]]:
    many = max(1, MOST_ROWS // people)
    return works[:many], works[many:]


def _people(config: InboxConfig) -> list[int]:
    """Ids of those who are to have it in their inbox; Refused, when that is nobody."""
    if config.user is not None:
        return [_user(config.user)]
    group = Group.get_or_none(Group.id == config.group)
    if group is None:
        raise Refused(f"the group {config.group} is not there any more; change the subscription or remove it")
    members = inbox.active_members(group.id)
    if not members:
        raise Refused(f"the group {group.name} has nobody who could read this; put somebody in, then retry this")
    return members


def _user(email: str) -> int:
    found = User.get_or_none(User.email == email)
    if found is None or found.email != email:  # MySQL's collation finds `é` for `e` too
        raise Refused(f"there is no user {email} any more; change the subscription or remove it")
    if found.disabled_at is not None:
        raise Refused(f"the user {email} is disabled and reads nothing; enable them, or change the subscription")
    return int(found.id)
