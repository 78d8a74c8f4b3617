"""`messagebroker users …`: people who log in. Works on the database directly, so that it works while main is down."""

from __future__ import annotations

import getpass
import json
import sys
from datetime import datetime
from typing import Annotated

import typer

from messagebroker.db.connection import open_database
from messagebroker.db.models import User
from messagebroker.db.schema import require_current
from messagebroker.errors import Refused
from messagebroker.ops import users
from messagebroker.ops.audit import Actor
from messagebroker.ops.permissions import ROLES
from messagebroker.settings import load

app = typer.Typer()

_ROLES = f"One of {', '.join(ROLES)}."
Email = Annotated[str, typer.Argument(help="The address that they log in with.")]
GivenPassword = Annotated[str | None, typer.Option("--password", help="Other users of this machine can see it; avoid.")]
FromInput = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
Ask = Annotated[bool, typer.Option("--ask", help="Ask for the password here.")]


@app.command()
def create(
    email: Annotated[str, typer.Option("--email", help="The address that they log in with.")],
    role: Annotated[str, typer.Option("--role", help=_ROLES)] = "user",
    password: GivenPassword = None,
    password_stdin: FromInput = False,
    ask: Ask = False,
) -> None:
    """Make a user; without a password, with a one-time one that is shown here once.

    Example: messagebroker users create --email ada@example.org --role operator
    """
    _connect()
    chosen = _password(password, password_stdin, ask)
    _show_one_time(users.create(email, role, password=chosen, actor=_me()), f"user {email} made, role {role}")


@app.command("list")
def list_users(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show everybody.

    Example: messagebroker users list --json
    """
    _connect()
    everybody = users.list_all()
    if as_json:
        typer.echo(json.dumps([_document(user) for user in everybody]))
        return
    for user in everybody:
        state = "disabled" if user.disabled_at else "must change password" if user.must_change_password else "active"
        last = user.last_login_at.strftime("%Y-%m-%d %H:%M UTC") if user.last_login_at else "never"
        typer.echo(f"{user.email:40} {user.role:13} {state:21} last login {last}")


@app.command("set-role")
def set_role(email: Email, role: Annotated[str, typer.Argument(help=_ROLES)]) -> None:
    """Give a user another role, from their next request on.

    Example: messagebroker users set-role ada@example.org admin
    """
    _connect()
    users.set_role(email, role, actor=_me())
    typer.echo(f"{email} has the role {role}")


@app.command()
def disable(email: Email) -> None:
    """Shut a user out, at once: tokens that they hold end too.

    Example: messagebroker users disable ada@example.org
    """
    _connect()
    users.set_disabled(email, True, actor=_me())
    typer.echo(f"{email} is disabled")


@app.command()
def enable(email: Email) -> None:
    """Let a disabled user in again.

    Example: messagebroker users enable ada@example.org
    """
    _connect()
    users.set_disabled(email, False, actor=_me())
    typer.echo(f"{email} is enabled")


@app.command("reset-password")
def reset_password(email: Email, password: GivenPassword = None, password_stdin: FromInput = False, ask: Ask = False) -> None:
    """Set a password; without one, a one-time one that is shown here once. Ends the user's tokens.

    Example: messagebroker users reset-password ada@example.org
    """
    _connect()
    chosen = _password(password, password_stdin, ask)
    _show_one_time(users.reset_password(email, password=chosen, actor=_me()), f"the password of {email} is set")


def _connect() -> None:
    open_database(load(role="main"))
    require_current()


def _me() -> Actor:
    return Actor(name=f"cli:{getpass.getuser()}"[:254])


def _password(given: str | None, from_input: bool, ask: bool) -> str | None:
    if sum((given is not None, from_input, ask)) > 1:
        raise Refused("give one of --password, --password-stdin and --ask")
    if given is not None:
        typer.echo("warning: other users of this machine can see --password; --password-stdin and --ask are safe", err=True)
        return given
    if from_input:
        return sys.stdin.readline().rstrip("\r\n")
    if ask:
        typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return typed
    return None


def _show_one_time(password: str | None, done: str) -> None:
    typer.echo(done)
    if password is not None:
        typer.echo(f"one-time password, shown only now: {password}")


def _document(user: User) -> dict[str, object]:
    def text(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        "email": user.email,
        "role": user.role,
        "must_change_password": user.must_change_password,
        "disabled_at": text(user.disabled_at),
        "created_at": text(user.created_at),
        "last_login_at": text(user.last_login_at),
    }
