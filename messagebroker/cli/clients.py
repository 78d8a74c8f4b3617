"""`messagebroker clients …`: registered senders. Works on the database directly, so that it works while main is down."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from messagebroker.cli.actor import this_user
from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import Group
from messagebroker.db.schema import require_current
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import clients
from messagebroker.ops.client_fields import FIELDS
from messagebroker.ops.clients import Changed, ClientEntry
from messagebroker.settings import Settings, load

app = typer.Typer()

_PAGE = 200
_CLEARED = ("owner", "group", "topics", "rate", "max-batch")

Name = Annotated[str, typer.Argument(help="The client's name, as in its certificate.")]
Owner = Annotated[str | None, typer.Option(help="The e-mail address of the user who answers for it.")]
GroupName = Annotated[str | None, typer.Option("--group", help="The group whose members see it.")]
DefaultTopic = Annotated[str | None, typer.Option(help="Where messages without a topic go.")]
Topic = Annotated[list[str] | None, typer.Option(help="A topic it may send to, * stands for anything; may be repeated.")]
Rate = Annotated[int | None, typer.Option(help="Messages a second.", min=1)]
MaxBatch = Annotated[int | None, typer.Option(help="Messages in a batch.", min=1)]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
def list_all(owner: Owner = None, as_json: AsJson = False) -> None:
    """List the clients by name.

    Example: messagebroker clients list --owner ada@example.org
    """
    settings = _settings()
    found: list[ClientEntry] = []
    while not found or len(found) % _PAGE == 0:
        more = clients.page(settings, limit=_PAGE, after=found[-1].name if found else None, owner=owner)
        found += more
        if not more:
            break
    if as_json:
        typer.echo(json.dumps([_document(one) for one in found]))
        return
    for one in found:
        state = "disabled" if one.disabled_at else "active"
        ends = f"{one.certificate_ends:%Y-%m-%d}" if one.certificate_ends else "none"
        typer.echo(f"{one.name:40} {state:9} certificate until {ends:11} {one.owner or ''}")


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show one client.

    Example: messagebroker clients show warehouse-7
    """
    _print(clients.find(_settings(), name), as_json=as_json)


@app.command()
def register(
    name: Name,
    owner: Owner = None,
    group: GroupName = None,
    default_topic: DefaultTopic = None,
    topic: Topic = None,
    rate: Rate = None,
    max_batch: MaxBatch = None,
    as_json: AsJson = False,
) -> None:
    """Register a client. `messagebroker certs issue NAME` gives it a certificate.

    Example: messagebroker clients register warehouse-7 --topic 'orders.*' --default-topic orders.new --rate 100
    """
    settings = _settings()
    fields = _given(owner, group, default_topic, topic, rate, max_batch)
    _tell(clients.register(settings, name, fields, this_user()), as_json=as_json)


@app.command("set")
def change(
    name: Name,
    owner: Owner = None,
    group: GroupName = None,
    default_topic: DefaultTopic = None,
    topic: Topic = None,
    rate: Rate = None,
    max_batch: MaxBatch = None,
    clear: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(_CLEARED)}; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change a client; what is not named stays. --topic replaces the whole list.

    Example: messagebroker clients set warehouse-7 --rate 500
    Example: messagebroker clients set warehouse-7 --clear rate --clear topics
    """
    settings = _settings()
    fields = _given(owner, group, default_topic, topic, rate, max_batch)
    for word in clear or ():
        if word not in _CLEARED:
            raise Refused(f"--clear {word}: what can be cleared is {', '.join(_CLEARED)}")
        field = {"group": "group_id", "max-batch": "max_batch"}.get(word, word)
        if field in fields:
            raise Refused(f"--{word} and --clear {word} contradict each other")
        fields[field] = None
    if not fields:
        raise Refused("nothing to change was named; `messagebroker clients set -h` lists what can be")
    _tell(clients.change(settings, name, fields, this_user()), as_json=as_json)


@app.command()
def disable(name: Name, as_json: AsJson = False) -> None:
    """Shut a client out, at once; its certificates stay as they are.

    Example: messagebroker clients disable warehouse-7
    """
    _tell(clients.disable(_settings(), name, this_user()), as_json=as_json)


@app.command()
def enable(name: Name, as_json: AsJson = False) -> None:
    """Let a disabled client in again.

    Example: messagebroker clients enable warehouse-7
    """
    _tell(clients.enable(_settings(), name, this_user()), as_json=as_json)


def _settings() -> Settings:
    settings = load(role="main")
    open_database(settings)
    require_current()
    return settings


def _given(
    owner: str | None,
    group: str | None,
    default_topic: str | None,
    topics: list[str] | None,
    rate: int | None,
    max_batch: int | None,
) -> dict[str, Any]:
    values = (owner, _group_id(group), default_topic, topics or None, rate, max_batch)
    return {field: value for field, value in zip(FIELDS, values, strict=True) if value is not None}


def _group_id(name: str | None) -> int | None:
    if name is None:
        return None
    with connected():
        row = Group.get_or_none(Group.name == name)
    if row is None:
        raise NotFound(f"there is no group {name!r}")
    return int(row.id)


def _tell(changed: Changed, *, as_json: bool) -> None:
    _print(changed.client, as_json=as_json)
    if changed.note is not None:
        typer.echo(f"note: {changed.note}", err=True)
    elif not as_json:
        typer.echo(f"policy {changed.policy_number} is published")


def _print(entry: ClientEntry, *, as_json: bool) -> None:
    document = _document(entry)
    if as_json:
        typer.echo(json.dumps(document))
        return
    for label, value in document.items():
        if value is not None:
            typer.echo(f"{label:17} {', '.join(value) if isinstance(value, list) else value}")


def _document(entry: ClientEntry) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in asdict(entry).items()}
