"""`messagebroker topics …`: the catalogue. Works on the database directly, so that it works while main is down."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from messagebroker.cli.actor import this_user
from messagebroker.db.connection import open_database
from messagebroker.db.schema import require_current
from messagebroker.errors import Refused
from messagebroker.ops import topics
from messagebroker.ops.topics import Changed, TopicEntry, TopicLine
from messagebroker.settings import Settings, load

app = typer.Typer()

_PAGE = 200

Name = Annotated[str, typer.Argument(help="The topic, such as orders.new.")]
Description = Annotated[str | None, typer.Option(help="For people.")]
SchemaFile = Annotated[Path | None, typer.Option("--schema", help="A file with the JSON Schema of its bodies; - reads stdin.")]
Deprecated = Annotated[bool | None, typer.Option("--deprecated/--not-deprecated", help="Taken, but answers say: not any more.")]
MustRoute = Annotated[bool | None, typer.Option("--must-route/--may-be-unrouted", help="What nobody subscribed to has failed.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the catalogue by name.

    Example: messagebroker topics list --json
    """
    _settings()
    found: list[TopicLine] = []
    while more := topics.page(limit=_PAGE, after=found[-1].name if found else None):
        found += more
    if as_json:
        typer.echo(json.dumps([_document(one) for one in found]))
        return
    for one in found:
        marks = {"schema": one.has_schema, "deprecated": one.deprecated_at, "must route": one.must_route}
        told = ", ".join(mark for mark, holds in marks.items() if holds)
        typer.echo(f"{one.name:40} {told:32} {one.description.partition(chr(10))[0]}".rstrip())


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show one topic, with its schema.

    Example: messagebroker topics show orders.new
    """
    _settings()
    _print(topics.find(name), as_json=as_json)


@app.command()
def create(
    name: Name,
    description: Description = None,
    schema: SchemaFile = None,
    deprecated: Deprecated = None,
    must_route: MustRoute = None,
    as_json: AsJson = False,
) -> None:
    """Put a topic into the catalogue. From then on bodies must match its schema, if it has one.

    Example: messagebroker topics create orders.new --description 'orders from the shop' --schema order.json --must-route
    """
    settings = _settings()
    fields = _given(description, schema, deprecated, must_route)
    _tell(topics.create(settings, name, fields, this_user()), as_json=as_json)


@app.command()
def change(
    name: Name,
    description: Description = None,
    schema: SchemaFile = None,
    no_schema: Annotated[bool, typer.Option("--no-schema", help="Bodies are not checked any more.")] = False,
    deprecated: Deprecated = None,
    must_route: MustRoute = None,
    as_json: AsJson = False,
) -> None:
    """Change a topic; what is not named stays.

    Example: messagebroker topics change orders.new --schema order-2.json
    Example: messagebroker topics change orders.old --deprecated
    """
    if schema is not None and no_schema:
        raise Refused("give one of --schema and --no-schema")
    settings = _settings()
    fields = _given(description, schema, deprecated, must_route) | ({"schema": None} if no_schema else {})
    if not fields:
        raise Refused("nothing to change was named; `messagebroker topics change -h` lists what can be")
    _tell(topics.change(settings, name, fields, this_user()), as_json=as_json)


@app.command()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Without being asked to type the name.")] = False,
) -> None:
    """Take a topic out of the catalogue. Its messages stay; new ones are taken as before, but no longer checked.

    Example: messagebroker topics remove orders.old
    """
    settings = _settings()
    entry = topics.find(name)
    _print(entry, as_json=False)
    if not yes and typer.prompt("From then on anything is taken on this topic. Type its name to remove it") != name:
        raise Refused("that is not its name; nothing was removed")
    told = topics.remove(settings, name, this_user())
    typer.echo(f"topic {name} removed")
    _tell_policy(told.number, told.note)


def _settings() -> Settings:
    settings = load(role="main")
    open_database(settings)
    require_current()
    return settings


def _given(description: str | None, schema: Path | None, deprecated: bool | None, must_route: bool | None) -> dict[str, Any]:
    values = {"description": description, "deprecated": deprecated, "must_route": must_route}
    given = {field: value for field, value in values.items() if value is not None}
    return given if schema is None else {**given, "schema": _read(schema)}


def _read(path: Path) -> Any:
    """The JSON in a file; what it must look like beyond that is checked where it is stored."""
    try:
        raw = typer.get_binary_stream("stdin").read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    try:
        return msgspec.json.decode(raw.removeprefix(b"\xef\xbb\xbf"))  # editors on Windows like to put a mark in front
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"{path} is not JSON in UTF-8: {error}") from None


def _tell(changed: Changed, *, as_json: bool) -> None:
    _print(changed.topic, as_json=as_json)
    _tell_policy(None if as_json else changed.policy_number, changed.note)


def _tell_policy(number: int | None, note: str | None) -> None:
    if note is not None:
        typer.echo(f"note: {note}", err=True)
    elif number is not None:
        typer.echo(f"policy {number} is published")


def _print(entry: TopicEntry, *, as_json: bool) -> None:
    document = _document(entry)
    if as_json:
        typer.echo(json.dumps(document))
        return
    for label, value in document.items():
        if value is not None and label not in ("schema", "has_schema"):
            typer.echo(f"{label:14} {value}")
    if entry.schema is not None:
        typer.echo(f"schema\n{json.dumps(entry.schema, indent=2, ensure_ascii=False)}")


def _document(entry: TopicLine) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in asdict(entry).items()}
