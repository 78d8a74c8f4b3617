"""`messagebroker users …`: people who log in. Works on the database directly, so that it works while main is down."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Annotated

import typer

from messagebroker.cli.actor import this_user
from messagebroker.db.connection import open_database
from messagebroker.db.models import Session, User
from messagebroker.db.schema import require_current
from messagebroker.errors import Refused
from messagebroker.ops import ids, second_factor, sessions, users
from messagebroker.ops.permissions import ROLES
from messagebroker.ops.sessions import Why
from messagebroker.settings import load

app = typer.Typer()

_PAGE = 500
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
    connect()
    chosen = _password(password, password_stdin, ask)
    _show_one_time(users.create(email, role, password=chosen, actor=this_user()), f"user {email} made, role {role}")


@app.command("list")
def list_users(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show everybody.

    Example: messagebroker users list --json
    """
    connect()
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
    connect()
    users.set_role(email, role, actor=this_user())
    typer.echo(f"{email} has the role {role}")


@app.command()
def disable(email: Email) -> None:
    """Shut a user out, at once: tokens that they hold end too.

    Example: messagebroker users disable ada@example.org
    """
    connect()
    users.set_disabled(email, True, actor=this_user())
    typer.echo(f"{email} is disabled")


@app.command()
def enable(email: Email) -> None:
    """Let a disabled user in again.

    Example: messagebroker users enable ada@example.org
    """
    connect()
    users.set_disabled(email, False, actor=this_user())
    typer.echo(f"{email} is enabled")


@app.command("reset-password")
def reset_password(email: Email, password: GivenPassword = None, password_stdin: FromInput = False, ask: Ask = False) -> None:
    """Set a password; without one, a one-time one that is shown here once. Ends the user's tokens.

    Example: messagebroker users reset-password ada@example.org
    """
    connect()
    chosen = _password(password, password_stdin, ask)
    _show_one_time(users.reset_password(email, password=chosen, actor=this_user()), f"the password of {email} is set")


@app.command("sessions")
def list_sessions(
    email: Email,
    end_all: Annotated[bool, typer.Option("--end-all", help="Log them out everywhere.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show where a user is logged in; with --end-all, log them out everywhere.

    Example: messagebroker users sessions ada@example.org --end-all
    """
    connect()
    user = users.find(email)
    if end_all:
        ended = sessions.end_all(user, Why.MANAGER, this_user())
        typer.echo(json.dumps({"ended": ended}) if as_json else f"{ended} sessions of {user.email} ended")
        return
    found, after = [], None
    while page := sessions.page(user.id, limit=_PAGE, after=after):
        found += page
        after = bytes(page[-1].id)
    if as_json:
        typer.echo(json.dumps([_session_document(session) for session in found]))
        return
    for session in found:
        seen = f"begun {session.created_at:%Y-%m-%d %H:%M}, seen {session.seen_at:%Y-%m-%d %H:%M} UTC"
        typer.echo(f"{ids.text(session.id)}  {session.address or '–':15}  {seen}  {session.user_agent or ''}")


@app.command("remove-second-factor")
def remove_second_factor(email: Email) -> None:
    """Let somebody in with their password alone, who lost their authenticator and the recovery codes.

    Example: messagebroker users remove-second-factor ada@example.org
    """
    connect()
    had = second_factor.remove(users.find(email), this_user())
    typer.echo(f"the second factor of {email} is removed" if had else f"{email} had no second factor")


def connect() -> None:
    """Opens the database that the settings name, whose schema must be this program's."""
    open_database(load(role="main"))
    require_current()


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


def _session_document(session: Session) -> dict[str, object]:
    return {
        "id": ids.text(session.id),
        "created_at": session.created_at.isoformat(),
        "seen_at": session.seen_at.isoformat(),
        "expires_at": session.expires_at.isoformat(),
        "address": session.address,
        "user_agent": session.user_agent,
    }


def _document(user: User) -> dict[str, object]:
    def text(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        "email": user.email,
        "role": user.role,
        "must_change_password": user.must_change_password,
        "second_factor": user.totp_confirmed_at is not None,
        "disabled_at": text(user.disabled_at),
        "created_at": text(user.created_at),
        "last_login_at": text(user.last_login_at),
    }
