"""People: making them, letting them in, changing and disabling them. Every change leaves an audit row with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import peewee as pw

from messagebroker.db.connection import connected, is_mysql
from messagebroker.db.models import User
from messagebroker.errors import Conflict, NotFound, Refused
from messagebroker.ops import audit, clock, passwords, sessions, stored_passwords
from messagebroker.ops.audit import Actor
from messagebroker.ops.changes import change
from messagebroker.ops.names import is_email
from messagebroker.ops.passwords import WeakPassword, WrongPassword
from messagebroker.ops.permissions import ADMIN, ROLES
from messagebroker.ops.sessions import Why

SET_UP = Actor(name="cli:set-up")
_LONGEST_EMAIL = 249  # `user:EMAIL` fits the audit log's column


def normal_email(text: str) -> str:
    """The form in which addresses are stored and compared.

    Raises:
        Refused: it is no address.
    """
    email = text.strip().lower()
    if not is_email(email) or len(email) > _LONGEST_EMAIL or not (email.isascii() and email.isprintable()):
        raise Refused(f"{text[:80]!r} is no e-mail address such as name@example.org (in ASCII)")
    return email


def create(email: str, role: str, *, password: str | None = None, actor: Actor) -> str | None:
    """Makes a user. Without a password: a one-time one, which is returned and must be changed at the first login.

    Raises:
        Refused: the address, the role or the password will not do.
        Conflict: there is such a user.
    """
    email = normal_email(email)
    _check_role(role)
    if password is not None:
        passwords.check(password, email)
    given = passwords.one_time() if password is None else None
    stored = passwords.hashed(given or password or "")
    with change():
        try:
            User.insert(
                email=email, password_hash=stored, role=role, must_change_password=given is not None, created_at=clock.now()
            ).execute()
        except pw.IntegrityError as error:
            raise Conflict(f"there is a user {email} already") from error
        audit.record_by(actor, "user.create", "user", email, {"role": role})
    return given


def create_first_admin(email: str) -> str:
    """An admin for a new installation; their one-time password."""
    given = create(email, ADMIN, actor=SET_UP)
    assert given is not None
    return given


def authenticate(email: str, password: str) -> User | None:
    """The user, when the password is theirs and they are not disabled. Takes as long when there is no such user."""
    user = _known(email)
    if user is not None and user.disabled_at is not None:
        user = None
    right = passwords.matches(user.password_hash if user else None, password)
    if user is None or not right:
        return None
    if not passwords.is_outdated(user.password_hash):
        return user
    renewed = passwords.hashed(password)
    if not stored_passwords.renew(user, renewed):
        return authenticate(email, password)  # somebody set another password, or the same person logged in twice
    user.password_hash = renewed
    return user


def find(email: str) -> User:
    """The user.

    Raises:
        NotFound: there is none of this address.
    """
    user = _known(normal_email(email))
    if user is None:
        raise NotFound(f"there is no user {email}; `messagebroker users list` shows who there is")
    return user


def is_known(typed: str) -> bool:
    """Whether what somebody typed is the address of a user."""
    return _known(typed) is not None


def _known(typed: str) -> User | None:
    """The user of exactly this address: MySQL's collation finds `é` for `e` too, and passes over NUL."""
    email = typed.strip().lower()
    with connected():
        user = User.get_or_none(User.email == email)
    return user if user is not None and user.email == email else None


def by_id(user_id: int) -> User:
    """The user, also a disabled one.

    Raises:
        NotFound: there is none of this number.
    """
    with connected():
        return _one(user_id)


def of_address(email: str) -> list[User]:
    """The user of this address, or nobody."""
    user = _known(email)
    return [] if user is None else [user]


def page(*, limit: int, after: int | None = None) -> list[User]:
    """Up to `limit` users in the order in which they were made, after the user `after`."""
    query = User.select() if after is None else User.select().where(User.id > after)
    with connected():
        return list(query.order_by(User.id).limit(limit))


def list_all() -> list[User]:
    """Everybody, by address."""
    with connected():
        return list(User.select().order_by(User.email))


def change_password(user: User, current: str, new: str, *, actor: Actor) -> User:
    """Sets the password of somebody who knows the current one; the user as they are then.

    Raises:
        WrongPassword: the current one is wrong.
        WeakPassword: the new one will not do.
        Overtaken: somebody else set it, or disabled the user, meanwhile.
    """
    if not passwords.matches(user.password_hash, current):
        raise WrongPassword("the current password is wrong")
    passwords.check(new, user.email)
    if passwords.matches(user.password_hash, new):
        raise WeakPassword("the new password is the current one")
    return stored_passwords.store(
        user,
        passwords.hashed(new),
        must_change=False,
        actor=actor,
        action="user.change-password",
        knowing=user.password_hash,
    )


def reset_password(
    email: str, *, password: str | None = None, actor: Actor, check: Callable[[User], None] | None = None
) -> str | None:
    """Sets a password, or a one-time one, which is returned. Tokens that are out end with the old one; `check` as in `alter`.

    Raises:
        NotFound: there is no such user.
        Refused: the password will not do.
    """
    user = find(email)
    if password is not None:
        passwords.check(password, user.email)
    given = passwords.one_time() if password is None else None
    stored = passwords.hashed(given or password or "")
    action = "user.reset-password"
    stored_passwords.store(user, stored, must_change=given is not None, actor=actor, action=action, check=check)
    return given


def set_role(email: str, role: str, *, actor: Actor) -> None:
    """Gives a user another role, from their next request on; raises as `alter`."""
    alter(find(email).id, role=role, actor=actor)


def set_disabled(email: str, disabled: bool, *, actor: Actor) -> None:
    """Shuts a user out, from their next request on, or lets them in again; raises as `alter`."""
    alter(find(email).id, disabled=disabled, actor=actor)


def alter(
    user_id: int,
    *,
    role: str | None = None,
    disabled: bool | None = None,
    actor: Actor,
    check: Callable[[User], None] | None = None,
) -> User:
    """Gives a user another role, shuts them out or lets them in; what is None or so already stays. The user as they are then.

    `check` sees the user as they are before, while nobody else can change them, and may raise.

    Raises:
        NotFound: there is no such user.
        Refused: no such role, or nobody would be left who is an admin.
    """
    if role is not None:
        _check_role(role)
    with change(), _an_admin_remains():
        user = _one(user_id)
        if check is not None:
            check(user)
        if role is not None and role != user.role:
            audit.record_by(actor, "user.set-role", "user", user.email, {"from": user.role, "to": role})
            user.role = role
        if disabled is not None and disabled != (user.disabled_at is not None):
            user.disabled_at = clock.now() if disabled else None
            audit.record_by(actor, "user.disable" if disabled else "user.enable", "user", user.email)
            if disabled:
                sessions.end_all(user, Why.DISABLED, actor)
        user.save(only=[User.role, User.disabled_at])
    return user


def _one(user_id: int) -> User:
    user = User.get_or_none(User.id == user_id)
    if user is None:
        raise NotFound("there is no such user")
    return user


@contextmanager
def _an_admin_remains() -> Iterator[None]:
    """Refuses, and so undoes, a change that leaves no admin.

    Two such changes at once wait for each other: on MySQL by locking the table's rows, on SQLite any writer does.
    """
    if is_mysql():
        User.select(User.id).for_update().execute()
    yield
    if not User.select().where(User.role == ADMIN, User.disabled_at.is_null()).exists():
        raise Refused("this is the last admin; make somebody else one first")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise Refused(f"{role!r} is no role; there are {', '.join(ROLES)}")
