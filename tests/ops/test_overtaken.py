"""Hashing a password takes long: what others do to a person in the meantime."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

import argon2
import pytest

from messagebroker.db.connection import connected
from messagebroker.db.connection import database as bound
from messagebroker.db.models import AuditEntry, PasswordReset, Session, User
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import clock, password_resets, passwords, sessions, stored_passwords, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change
from messagebroker.ops.password_resets import WrongToken
from messagebroker.ops.sessions import Overtaken, RefreshRefused
from messagebroker.ops.tokens import Tokens
from messagebroker.ops.user_lock import locked_user

pytestmark = pytest.mark.usefixtures("database")
ME = Actor(name="cli:test")
GOOD, NEW = "a long enough one 1", "quite another one 2"
TOKENS = Tokens(b"s" * 32, 15)


@pytest.fixture
def ada(database: object) -> User:
    users.create("admin@example.org", "admin", password=GOOD, actor=ME)
    users.create("ada@example.org", "user", password=GOOD, actor=ME)
    return users.find("ada@example.org")


def meanwhile(monkeypatch: pytest.MonkeyPatch, during: str, action: Callable[[], object]) -> None:
    """Once, at the end of the next call of a function of `passwords`, somebody does something."""
    real = getattr(passwords, during)

    def overtaken(*given: Any) -> Any:
        found = real(*given)
        monkeypatch.setattr(passwords, during, real)
        action()
        return found

    monkeypatch.setattr(passwords, during, overtaken)


@pytest.mark.parametrize("by", ["reset", "disabling"])
def test_a_login_with_the_old_password_is_overtaken(ada: User, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    actions = {
        "reset": lambda: users.reset_password(ada.email, password=NEW, actor=ME),
        "disabling": lambda: users.set_disabled(ada.email, True, actor=ME),
    }
    meanwhile(monkeypatch, "matches", actions[by])
    shown = users.authenticate(ada.email, GOOD)
    assert shown  # it was right when it was looked at
    with pytest.raises(Overtaken):
        sessions.begin(TOKENS, shown)
    users.set_disabled(ada.email, False, actor=ME)
    with connected():
        assert not Session.select().exists()
        assert User.get(User.id == ada.id).last_login_at is None


def test_a_session_of_before_a_reset_is_not_refreshed(ada: User) -> None:
    pair = sessions.begin(TOKENS, ada)
    users.reset_password(ada.email, password=NEW, actor=ME)
    with pytest.raises(RefreshRefused):
        sessions.refresh(TOKENS, pair.refresh, actor=ME)


def outdated(user: User) -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=32, parallelism=1).hash(GOOD)
    with connected():
        User.update(password_hash=weak).where(User.id == user.id).execute()


def test_a_better_hash_of_the_old_password_does_not_undo_a_reset(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    outdated(ada)
    meanwhile(monkeypatch, "matches", lambda: users.reset_password(ada.email, password=NEW, actor=ME))
    assert users.authenticate(ada.email, GOOD) is None
    assert users.authenticate(ada.email, NEW)


def test_two_logins_that_both_make_a_better_hash_both_succeed(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    outdated(ada)
    others: list[User | None] = []
    meanwhile(monkeypatch, "hashed", lambda: others.append(users.authenticate(ada.email, GOOD)))
    found = users.authenticate(ada.email, GOOD)
    for user in (found, *others):
        assert user
        assert sessions.begin(TOKENS, user)
    assert len(others) == 1


@pytest.mark.parametrize("during", ["matches", "hashed"])
@pytest.mark.parametrize("by", ["reset", "disabling"])
def test_a_change_by_who_knows_the_old_password_is_overtaken(
    ada: User, monkeypatch: pytest.MonkeyPatch, during: str, by: str
) -> None:
    actions = {
        "reset": lambda: users.reset_password(ada.email, password="words of the manager 8", actor=ME),
        "disabling": lambda: users.set_disabled(ada.email, True, actor=ME),
    }
    meanwhile(monkeypatch, during, actions[by])
    with pytest.raises(Overtaken):
        users.change_password(ada, GOOD, NEW, actor=ME)
    users.set_disabled(ada.email, False, actor=ME)
    assert users.authenticate(ada.email, NEW) is None
    with connected():
        assert not AuditEntry.select().where(AuditEntry.action == "user.change-password").exists()


def test_a_reset_overtakes_a_change_and_never_the_other_way_round(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, "hashed", lambda: users.change_password(ada, GOOD, NEW, actor=ME))
    given = users.reset_password(ada.email, actor=ME)
    assert given
    assert users.authenticate(ada.email, given)
    assert users.authenticate(ada.email, NEW) is None


def test_the_session_after_a_change_is_not_begun_under_the_reset_that_follows(ada: User) -> None:
    changed = users.change_password(ada, GOOD, NEW, actor=ME)
    users.reset_password(ada.email, actor=ME)
    with pytest.raises(Overtaken):
        sessions.begin(TOKENS, changed)


def test_a_reset_looks_again_whether_it_may(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_users(user: User) -> None:
        if user.role != "user":
            raise Refused("not you")

    meanwhile(monkeypatch, "hashed", lambda: users.set_role(ada.email, "admin", actor=ME))
    with pytest.raises(Refused, match="not you"):
        users.reset_password(ada.email, actor=ME, check=only_users)
    assert users.authenticate(ada.email, GOOD)


def test_nobody_sets_the_password_of_who_is_gone(ada: User) -> None:
    with connected():
        User.delete().execute()
    with pytest.raises(NotFound):
        stored_passwords.store(ada, "x", must_change=False, actor=ME, action="user.reset-password")


def code_for(user: User) -> str:
    token, now = secrets.token_urlsafe(32), clock.now()
    row = {
        "token_hash": password_resets._hash(token),
        "user": user.id,
        "created_at": now,
        "expires_at": now + password_resets.LIFE,
    }
    with change():
        locked_user(user.id)  # as `mail_token`
        PasswordReset.insert(**row).execute()
    return token


@pytest.mark.parametrize("by", ["change", "reset", "code"])
def test_a_new_password_voids_the_codes_that_were_mailed(ada: User, by: str) -> None:
    users.create("bob@example.org", "user", password=GOOD, actor=ME)
    code, another, his = code_for(ada), code_for(ada), code_for(users.find("bob@example.org"))
    actions: dict[str, Callable[[], object]] = {
        "change": lambda: users.change_password(ada, GOOD, NEW, actor=ME),
        "reset": lambda: users.reset_password(ada.email, password=NEW, actor=ME),
        "code": lambda: password_resets.reset(another, NEW),
    }
    actions[by]()
    with pytest.raises(WrongToken):
        password_resets.reset(code, "what a thief would like 3")
    assert users.authenticate(ada.email, NEW)
    assert password_resets.reset(his, NEW)


def test_a_code_is_void_when_the_password_changes_while_its_own_is_hashed(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    code = code_for(ada)
    meanwhile(monkeypatch, "hashed", lambda: users.reset_password(ada.email, password=NEW, actor=ME))
    with pytest.raises(WrongToken):
        password_resets.reset(code, "what a thief would like 3")
    assert users.authenticate(ada.email, NEW)


def test_none_of_them_wait_for_each_other_for_ever(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "hashed", lambda password: ada.password_hash)
    monkeypatch.setattr(passwords, "check", lambda password, email: None)
    trouble: list[BaseException] = []

    def repeat(action: Callable[[], object]) -> None:
        try:
            for _ in range(8):
                action()
        except (WrongToken, RefreshRefused):
            pass  # as it should be
        except BaseException as error:  # noqa: BLE001
            trouble.append(error)
        finally:
            bound.close()

    def refresh() -> object:
        return sessions.refresh(TOKENS, sessions.begin(TOKENS, ada).refresh, actor=ME)

    actions: list[Callable[[], object]] = [
        lambda: users.reset_password(ada.email, password=NEW, actor=ME),
        lambda: password_resets.reset(code_for(ada), NEW),
        lambda: sessions.begin(TOKENS, ada),
        refresh,
        lambda: users.set_disabled(ada.email, False, actor=ME),
    ]
    threads = [threading.Thread(target=repeat, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert trouble == []
