"""`messagebroker groups …`: people who belong together. Works on the database directly, so that it works while main is down."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from messagebroker.cli.actor import this_user
from messagebroker.cli.users import connect
from messagebroker.errors import Refused
from messagebroker.ops import group_members, groups, users

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="The group's name.")]
Email = Annotated[str, typer.Argument(help="A user's address.")]
_PAGE = 500


@app.command()
def create(
    name: Name,
    description: Annotated[str, typer.Option("--description", help="For people.")] = "",
    manager: Annotated[str | None, typer.Option("--manager", help="Who puts people in: a user's address.")] = None,
    topic: Annotated[list[str] | None, typer.Option("--topic", help="What its members may read; several times.")] = None,
) -> None:
    """Make a group.

    Example: messagebroker groups create warehouse --manager ada@example.org --topic orders
    """
    connect()
    made = groups.create(name, description=description, actor=this_user())
    if manager is not None or topic:
        groups.alter(made.id, manager=manager, topics=topic or [], actor=this_user())
    typer.echo(f"group {made.name} made")


@app.command("list")
def list_groups(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show all groups.

    Example: messagebroker groups list --json
    """
    connect()
    found, after = [], None
    while page := groups.page(limit=_PAGE, after=after):
        found += page
        after = page[-1].id
    if as_json:
        typer.echo(json.dumps([asdict(group) for group in found]))
        return
    for group in found:
        topics = ", ".join(group.topics) or "no topics"
        typer.echo(f"{group.name:30} manager {group.manager or '–':30} {group.members:5} members   {topics}")


@app.command()
def show(name: Name, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show a group and who is in it.

    Example: messagebroker groups show warehouse
    """
    connect()
    group = groups.by_name(name)
    members: list[str] = []
    after = None
    while page := group_members.page(group.id, limit=_PAGE, after=after):
        members += [user.email for user in page]
        after = page[-1].id
    if as_json:
        typer.echo(json.dumps({**asdict(group), "members": members}))
        return
    typer.echo(f"{group.name}: {group.description or 'no description'}")
    typer.echo(f"manager {group.manager or '–'}, topics {', '.join(group.topics) or '–'}")
    for email in members:
        typer.echo(f"  {email}")


@app.command("set")
def change(
    name: Name,
    new_name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="For people.")] = None,
    manager: Annotated[str | None, typer.Option("--manager", help="A user's address.")] = None,
    no_manager: Annotated[bool, typer.Option("--no-manager", help="Nobody but who manages all groups.")] = False,
    topic: Annotated[list[str] | None, typer.Option("--topic", help="All that they may read; several times.")] = None,
    no_topics: Annotated[bool, typer.Option("--no-topics", help="They read no topic.")] = False,
) -> None:
    """Change what is given.

    Example: messagebroker groups set warehouse --topic orders --topic returns
    """
    if (manager is not None and no_manager) or (topic and no_topics):
        raise Refused("give one of --manager and --no-manager, and one of --topic and --no-topics")
    connect()
    groups.alter(
        groups.by_name(name).id,
        name=groups.KEEP if new_name is None else new_name,
        description=groups.KEEP if description is None else description,
        manager=manager if manager is not None or no_manager else groups.KEEP,
        topics=topic or [] if topic or no_topics else groups.KEEP,
        actor=this_user(),
    )
    typer.echo(f"group {new_name or name} changed")


@app.command()
def add(name: Name, email: Email) -> None:
    """Put a user in a group.

    Example: messagebroker groups add warehouse bob@example.org
    """
    connect()
    group_members.add_member(groups.by_name(name).id, email, actor=this_user())
    typer.echo(f"{email} is in {name}")


@app.command()
def remove(name: Name, email: Email) -> None:
    """Take a user out of a group.

    Example: messagebroker groups remove warehouse bob@example.org
    """
    connect()
    group_members.remove_member(groups.by_name(name).id, users.find(email).id, actor=this_user())
    typer.echo(f"{email} is not in {name} any more")


@app.command()
def delete(name: Name) -> None:
    """Remove a group; its members stay users.

    Example: messagebroker groups delete warehouse
    """
    connect()
    groups.delete(groups.by_name(name).id, actor=this_user())
    typer.echo(f"group {name} removed")
