"""Groups of people (a class, a team): a manager, members, and the topics that all of them may read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import peewee as pw

from messagebroker.db import models
from messagebroker.db.connection import connected
from messagebroker.db.models import User
from messagebroker.errors import Conflict, NotFound, Refused
from messagebroker.ops import audit, clock, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change, locked
from messagebroker.ops.names import is_topic

Group: Any = models.Group  # the stubs of peewee know no columns
GroupMember: Any = models.GroupMember
GroupTopic: Any = models.GroupTopic

LONGEST_NAME, LONGEST_DESCRIPTION, MOST_TOPICS = 100, 500, 200
NO_USER = "there is no user of this address"
KEEP: Any = object()
"""For `alter`: this stays as it is."""


@dataclass(frozen=True, kw_only=True)
class Details:
    """A group with what belongs to it."""

    id: int
    name: str
    description: str
    manager_id: int | None
    manager: str | None  # their address
    topics: list[str]
    members: int


def create(name: str, *, description: str = "", actor: Actor) -> Details:
    """An empty group.

    Raises:
        Refused: the name will not do.
        Conflict: there is one of this name.
    """
    name, description = _name(name), _description(description)
    with change():
        made = _unique(name, lambda: Group.create(name=name, description=description, created_at=clock.now()))
        audit.record_by(actor, "group.create", "group", str(made.id), {"name": name})
    return find(made.id)


def find(group_id: int) -> Details:
    """The group.

    Raises:
        NotFound: there is none of this number.
    """
    with connected():
        return _details([_row(group_id)])[0]


def manager_of(group_id: int) -> int | None:
    """The number of the group's manager, without counting its members; raises NotFound as `find`."""
    with connected():
        manager: int | None = _row(group_id).manager_id
    return manager


def by_name(name: str) -> Details:
    """The group of this name; raises NotFound as `find`."""
    with connected():
        group = Group.get_or_none(Group.name == name.strip())
        if group is None:
            raise NotFound(f"there is no group {name!r}; `messagebroker groups list` shows which there are")
        return _details([group])[0]


def page(*, limit: int, after: int | None = None, of_user: int | None = None) -> list[Details]:
    """Up to `limit` groups in the order in which they were made, after the group `after`; of one user's, when that is given."""
    parts = [(Group, Group.id, None)]
    if of_user is not None:  # a range of an index each, of which a page is enough
        parts = [(Group, Group.id, Group.manager == of_user), (GroupMember, GroupMember.group, GroupMember.user == of_user)]
    with connected():
        found = {number for part in parts for number in _numbers(*part, after=after or 0, limit=limit)}
        wanted = sorted(found)[:limit]
        return _details(list(Group.select().where(Group.id.in_(wanted)).order_by(Group.id))) if wanted else []


def _numbers(table: Any, column: Any, condition: Any, *, after: int, limit: int) -> list[int]:
    query = table.select(column).where(column > after).order_by(column).limit(limit).tuples()
    return [row[0] for row in (query if condition is None else query.where(condition))]


def alter(
    group_id: int,
    *,
    name: str = KEEP,
    description: str = KEEP,
    manager: str | None = KEEP,
    topics: Iterable[str] = KEEP,
    actor: Actor,
    check: Callable[[Details], None] | None = None,
) -> Details:
    """Changes what is given; the group as it is then. `manager` is an address, or None for nobody.

    `check` sees the group as it is before, while nobody else can change it, and may raise.

    Raises:
        NotFound: there is no such group, or no user who could be its manager.
        Refused, Conflict: as `create`; or a topic is none.
    """
    wanted: dict[str, Any] = {}
    if name is not KEEP:
        wanted["name"] = _name(name)
    if description is not KEEP:
        wanted["description"] = _description(description)
    if topics is not KEEP:
        wanted["topics"] = _topics(topics)
    with change():
        row = locked(Group.select().where(Group.id == group_id)).first()
        before = _details([row or _row(group_id)])[0]
        if check is not None:
            check(before)
        if manager is not KEEP:
            row.manager = wanted["manager"] = None if manager is None else user_of(manager)
            wanted["manager"] = None if row.manager is None else row.manager.email
        changes = {field: value for field, value in wanted.items() if value != getattr(before, field)}
        if not changes:
            return before
        row.name, row.description = wanted.get("name", row.name), wanted.get("description", row.description)
        _unique(row.name, row.save)
        if "topics" in changes:
            _store_topics(group_id, before.topics, changes["topics"])
        was = {field: getattr(before, field) for field in changes}
        audit.record_by(actor, "group.change", "group", str(group_id), {"before": was, "after": changes})
        return _details([_row(group_id)])[0]


def rename(group_id: int, name: str, *, actor: Actor) -> Details:
    """As `alter`."""
    return alter(group_id, name=name, actor=actor)


def set_manager(group_id: int, email: str | None, *, actor: Actor) -> Details:
    """As `alter`."""
    return alter(group_id, manager=email, actor=actor)


def set_topics(group_id: int, topics: Iterable[str], *, actor: Actor) -> Details:
    """As `alter`."""
    return alter(group_id, topics=topics, actor=actor)


def delete(group_id: int, *, actor: Actor, check: Callable[[Details], None] | None = None) -> None:
    """Its members stay users, its clients belong to no group then.

    Raises:
        NotFound: there is no such group.
    """
    with change():
        before = _details([locked(Group.select().where(Group.id == group_id)).first() or _row(group_id)])[0]
        if check is not None:
            check(before)
        Group.delete().where(Group.id == group_id).execute()
        audit.record_by(actor, "group.delete", "group", str(group_id), {"name": before.name, "topics": before.topics})


def _row(group_id: int) -> Any:
    group = Group.get_or_none(Group.id == group_id)
    if group is None:
        raise NotFound("there is no such group")
    return group


def user_of(email: str) -> User:
    """The user of this address; raises NotFound when there is none."""
    found = users.of_address(email)
    if not found:
        raise NotFound(NO_USER)
    return found[0]


def _details(rows: list[Any]) -> list[Details]:
    """With a query for each kind of thing, not for each group."""
    ids = [row.id for row in rows] or [0]
    topics: dict[int, list[str]] = {}
    for topic in GroupTopic.select().where(GroupTopic.group.in_(ids)).order_by(GroupTopic.group, GroupTopic.topic):
        topics.setdefault(topic.group_id, []).append(topic.topic)
    counted = GroupMember.select(GroupMember.group, pw.fn.COUNT(GroupMember.user).alias("members")).where(
        GroupMember.group.in_(ids)
    )
    members = {row.group_id: row.members for row in counted.group_by(GroupMember.group)}
    managers = {row.manager_id for row in rows if row.manager_id is not None} or {0}
    emails = {user.id: user.email for user in User.select(User.id, User.email).where(User.id.in_(list(managers)))}
    return [
        Details(
            id=row.id,
            name=row.name,
            description=row.description,
            manager_id=row.manager_id,
            manager=emails.get(row.manager_id),
            topics=topics.get(row.id, []),
            members=members.get(row.id, 0),
        )
        for row in rows
    ]


def _store_topics(group_id: int, before: list[str], after: list[str]) -> None:
    gone, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    if gone:
        GroupTopic.delete().where(GroupTopic.group == group_id, GroupTopic.topic.in_(gone)).execute()
    if new:
        now = clock.now()
        GroupTopic.insert_many([{"group": group_id, "topic": topic, "added_at": now} for topic in new]).execute()


def _unique(name: str, write: Callable[[], Any]) -> Any:
    try:
        return write()
    except pw.IntegrityError as error:
        raise Conflict(f"there is a group {name!r} already") from error


def _name(text: str) -> str:
    text = text.strip()
    if not (0 < len(text) <= LONGEST_NAME and text.isprintable()):
        raise Refused(f"a group's name has 1 to {LONGEST_NAME} printable characters")
    return text


def _description(text: str) -> str:
    text = text.strip()
    if len(text) > LONGEST_DESCRIPTION or not text.replace("\n", "").isprintable():
        raise Refused(f"a description has up to {LONGEST_DESCRIPTION} printable characters")
    return text


def _topics(given: Iterable[str]) -> list[str]:
    topics = sorted(set(given))
    for topic in topics:
        if is_topic(topic) is None:
            raise Refused(f"{topic[:80]!r} is no topic such as orders or orders.eu")
    if len(topics) > MOST_TOPICS:
        raise Refused(f"a group has up to {MOST_TOPICS} topics")
    return topics
