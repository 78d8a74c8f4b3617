from __future__ import annotations

import threading

import peewee as pw
import pytest

from messagebroker.db.connection import connected, is_mysql
from messagebroker.db.models import AuditEntry, User
from messagebroker.errors import Conflict, NotFound, Refused
from messagebroker.ops import passwords, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.metrics import PASSWORD_CHANGES
from messagebroker.ops.passwords import WeakPassword

pytestmark = pytest.mark.usefixtures("database")
ME = Actor(name="cli:test")
GOOD = "a long enough one 1"


def actions() -> list[tuple[str, str]]:
    with connected():
        return [(entry.action, entry.object_id) for entry in AuditEntry.select().order_by(AuditEntry.id)]


def test_a_new_user_has_a_one_time_password_that_must_be_changed() -> None:
    one_time = users.create("Ada@Example.org", "operator", actor=ME)
    assert one_time
    ada = users.authenticate("ada@example.org", one_time)
    assert ada
    assert (ada.email, ada.role, ada.must_change_password) == ("ada@example.org", "operator", True)
    assert one_time not in ada.password_hash
    assert actions() == [("user.create", "ada@example.org")]


def test_a_chosen_password_stays() -> None:
    assert users.create("ada@example.org", "user", password=GOOD, actor=ME) is None
    assert users.find("ada@example.org").must_change_password is False


@pytest.mark.parametrize(
    "email",
    ["", "ada", "a@b@c", "a b@c.d", "@example.org", "ada@", "ada@exämple.org", "a\x00da@example.org", "ada\n@x",
     "a" * 65 + "@b.c", "ada@" + "b" * 250],
)  # fmt: skip
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(Refused):
        users.create(email, "user", actor=ME)
    assert users.list_all() == []


def test_the_same_address_twice_is_a_conflict_and_leaves_no_row() -> None:
    users.create("ada@example.org", "user", actor=ME)
    with pytest.raises(Conflict):
        users.create("ADA@example.org", "admin", actor=ME)
    assert actions() == [("user.create", "ada@example.org")]
    assert users.find("ada@example.org").role == "user"


def test_unknown_roles_and_weak_passwords_are_refused() -> None:
    with pytest.raises(Refused, match="root"):
        users.create("ada@example.org", "root", actor=ME)
    with pytest.raises(WeakPassword):
        users.create("ada@example.org", "user", password="short", actor=ME)


def test_a_disabled_user_is_shut_out_until_enabled() -> None:
    users.create("ada@example.org", "user", password=GOOD, actor=ME)
    users.create("root@example.org", "admin", password=GOOD, actor=ME)
    users.set_disabled("ada@example.org", True, actor=ME)
    assert users.authenticate("ada@example.org", GOOD) is None
    users.set_disabled("ada@example.org", False, actor=ME)
    assert users.authenticate("ada@example.org", GOOD)
    assert actions()[2:] == [("user.disable", "ada@example.org"), ("user.enable", "ada@example.org")]


def test_the_last_admin_stays() -> None:
    users.create("root@example.org", "admin", password=GOOD, actor=ME)
    users.create("other@example.org", "admin", password=GOOD, actor=ME)
    users.set_disabled("other@example.org", True, actor=ME)
    for change in (
        lambda: users.set_disabled("root@example.org", True, actor=ME),
        lambda: users.set_role("root@example.org", "user", actor=ME),
    ):
        with pytest.raises(Refused, match="last admin"):
            change()
    root = users.find("root@example.org")
    assert (root.role, root.disabled_at) == ("admin", None)
    assert actions()[-1] == ("user.disable", "other@example.org"), "what was refused leaves no row"


def test_two_admins_who_demote_each_other_at_once_leave_one(database: pw.Database) -> None:
    for round_number in range(5):
        names = [f"a{round_number}@example.org", f"b{round_number}@example.org"]
        with connected():
            User.update(role="user").execute()
        for name in names:
            users.create(name, "admin", password=GOOD, actor=ME)
        ready = threading.Barrier(2)
        refused: list[Exception] = []

        def demote(name: str, ready: threading.Barrier = ready, refused: list[Exception] = refused) -> None:
            ready.wait()
            try:
                users.set_role(name, "user", actor=ME)
            except Exception as error:  # noqa: BLE001
                refused.append(error)

        threads = [threading.Thread(target=demote, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        with connected():
            admins = User.select().where(User.role == "admin").count()
        assert admins >= 1, "nobody is left who could make an admin"
        assert len(refused) == 1, refused
    assert is_mysql() or isinstance(database, pw.SqliteDatabase)


def test_two_who_saw_the_same_user_do_not_both_change_them() -> None:
    users.create("root@example.org", "admin", password=GOOD, actor=ME)
    users.create("ada@example.org", "user", password=GOOD, actor=ME)
    ada = users.find("ada@example.org").id
    for before, after in (("user", "operator"), ("operator", "user_manager"), ("user_manager", "user")):
        ready, refused = threading.Barrier(3), []

        def change(before: str = before, after: str = after, ready: threading.Barrier = ready, refused: list = refused) -> None:  # type: ignore[type-arg]
            def check(user: User) -> None:
                if user.role != before:
                    raise Conflict("changed meanwhile")

            ready.wait()
            try:
                users.alter(ada, role=after, actor=ME, check=check)
            except Conflict as error:
                refused.append(error)

        threads = [threading.Thread(target=change) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert (users.by_id(ada).role, len(refused)) == (after, 2)


def test_new_passwords_are_counted() -> None:
    def count(how: str) -> float:
        return PASSWORD_CHANGES.labels(how)._value.get()  # type: ignore[no-any-return]

    users.create("ada@example.org", "user", password=GOOD, actor=ME)
    before = count("reset-password"), count("change-password")
    users.reset_password("ada@example.org", password=GOOD, actor=ME)
    users.change_password(users.find("ada@example.org"), GOOD, "quite another one 2", actor=ME)
    assert (count("reset-password"), count("change-password")) == (before[0] + 1, before[1] + 1)


def test_a_reset_password_replaces_the_old_one() -> None:
    users.create("ada@example.org", "user", password=GOOD, actor=ME)
    one_time = users.reset_password("ada@example.org", actor=ME)
    assert one_time
    assert users.authenticate("ada@example.org", GOOD) is None
    ada = users.authenticate("ada@example.org", one_time)
    assert ada
    assert ada.must_change_password is True


def test_whom_nobody_knows() -> None:
    for change in (
        lambda: users.find("nobody@example.org"),
        lambda: users.set_role("nobody@example.org", "user", actor=ME),
        lambda: users.reset_password("nobody@example.org", actor=ME),
    ):
        with pytest.raises(NotFound):
            change()


def test_a_similar_address_is_somebody_else() -> None:
    users.create("jose@example.org", "user", password=GOOD, actor=ME)
    for similar in ("josé@example.org", "jose\x00@example.org", "jose\u00ad@example.org"):
        assert users.authenticate(similar, GOOD) is None
        assert users.is_known(similar) is False


def test_a_hash_of_weaker_parameters_is_replaced_at_the_next_login() -> None:
    from argon2 import PasswordHasher

    users.create("ada@example.org", "user", password=GOOD, actor=ME)
    with connected():
        User.update(password_hash=PasswordHasher(time_cost=1, memory_cost=32, parallelism=1).hash(GOOD)).execute()
    assert users.authenticate("ada@example.org", GOOD)
    assert not passwords.is_outdated(users.find("ada@example.org").password_hash)
    assert users.authenticate("ada@example.org", GOOD)
