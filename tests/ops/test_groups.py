from __future__ import annotations

import threading

import pytest

from messagebroker.db.connection import connected
from messagebroker.db.models import AuditEntry, Client
from messagebroker.errors import Conflict, NotFound, Refused
from messagebroker.ops import clock, group_members, groups, users
from messagebroker.ops.audit import Actor

pytestmark = pytest.mark.usefixtures("database")
ME = Actor(name="cli:test")


def user(name: str) -> int:
    users.create(f"{name}@example.org", "user", password="a long enough one 1", actor=ME)
    return int(users.find(f"{name}@example.org").id)


def groups_of(person: int) -> list[int]:
    return [found.id for found in groups.page(limit=9, of_user=person)]


def actions() -> list[str]:
    with connected():
        return [entry.action for entry in AuditEntry.select().order_by(AuditEntry.id)]


def test_a_group_from_its_beginning_to_its_end() -> None:
    ada, bob = user("ada"), user("bob")
    made = groups.create(" 7b ", description="the class", actor=ME)
    assert (made.name, made.manager, made.topics, made.members) == ("7b", None, [], 0)
    groups.set_manager(made.id, "ada@example.org", actor=ME)
    groups.set_topics(made.id, ["orders", "news.eu", "orders"], actor=ME)
    group_members.add_member(made.id, "bob@example.org", actor=ME)
    group_members.add_member(made.id, "BOB@example.org", actor=ME)
    found = groups.by_name("7b")
    assert (found.manager_id, found.topics, found.members) == (ada, ["news.eu", "orders"], 1)
    assert groups_of(ada) == groups_of(bob) == [made.id]
    groups.set_topics(made.id, ["orders", "x"], actor=ME)
    assert groups.rename(made.id, "8b", actor=ME).topics == ["orders", "x"]
    group_members.remove_member(made.id, bob, actor=ME)
    assert groups_of(bob) == []
    groups.delete(made.id, actor=ME)
    assert groups_of(ada) == []
    with pytest.raises(NotFound):
        groups.find(made.id)
    assert actions()[2:] == [
        "group.create", "group.change", "group.change", "group.add-member", "group.change", "group.change",
        "group.remove-member", "group.delete",
    ]  # fmt: skip


def test_what_changes_nothing_leaves_no_row() -> None:
    made = groups.create("a", actor=ME)
    assert groups.alter(made.id, name="a", description="", manager=None, topics=[], actor=ME) == made
    assert actions() == ["group.create"]


def test_a_change_tells_before_and_after() -> None:
    made = groups.create("a", actor=ME)
    groups.alter(made.id, name="b", topics=["t"], actor=ME)
    with connected():
        assert AuditEntry.get(AuditEntry.action == "group.change").details == (
            '{"before": {"name": "a", "topics": []}, "after": {"name": "b", "topics": ["t"]}}'
        )


def test_names_are_unique_and_printable() -> None:
    groups.create("a", actor=ME)
    other = groups.create("b", actor=ME)
    with pytest.raises(Conflict):
        groups.create("a", actor=ME)
    with pytest.raises(Conflict):
        groups.rename(other.id, "a", actor=ME)
    for name in ("", "  ", "a\nb", "a\x00", "x" * 101):
        with pytest.raises(Refused):
            groups.create(name, actor=ME)
    for topic in ("", "a b", "a\n", "*", "é"):
        with pytest.raises(Refused):
            groups.set_topics(other.id, [topic], actor=ME)


def test_whom_and_what_nobody_knows() -> None:
    made = groups.create("a", actor=ME)
    ada = user("ada")
    for change in (
        lambda: groups.set_manager(made.id, "nobody@example.org", actor=ME),
        lambda: group_members.add_member(made.id, "nobody@example.org", actor=ME),
        lambda: group_members.remove_member(made.id, ada, actor=ME),
        lambda: groups.rename(999, "x", actor=ME),
        lambda: groups.delete(999, actor=ME),
        lambda: group_members.add_member(999, "ada@example.org", actor=ME),
        lambda: groups.by_name("x"),
    ):
        with pytest.raises(NotFound):
            change()


def test_a_removed_groups_clients_belong_to_none() -> None:
    made = groups.create("a", actor=ME)
    with connected():
        Client.insert(name="acme", group=made.id, created_at=clock.now()).execute()
        groups.delete(made.id, actor=ME)
        assert Client.get().group_id is None


def test_pages() -> None:
    ada = user("ada")
    made = [groups.create(f"g{number}", actor=ME).id for number in range(5)]
    for group in made[1::2]:
        group_members.add_member(group, "ada@example.org", actor=ME)
    assert [group.id for group in groups.page(limit=3)] == made[:3]
    assert [group.id for group in groups.page(limit=3, after=made[2])] == made[3:]
    assert [group.id for group in groups.page(limit=9, of_user=ada)] == made[1::2]
    assert groups.page(limit=9, of_user=ada + 1) == []


def test_the_same_member_twice_at_once() -> None:
    made = groups.create("a", actor=ME)
    user("ada")
    ready, failed = threading.Barrier(4), []

    def add() -> None:
        ready.wait()
        try:
            group_members.add_member(made.id, "ada@example.org", actor=ME)
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert [member.email for member in group_members.page(made.id, limit=5)] == ["ada@example.org"]
    assert actions().count("group.add-member") == 1
