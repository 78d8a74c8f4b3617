"""`messagebroker subscriptions …`: who gets which messages. Works on the database directly, also while main is down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from messagebroker.cli import replaying
from messagebroker.cli.actor import this_user
from messagebroker.cli.printing import document, print_fields
from messagebroker.cli.subscription_list import AsJson, Number, Yes, connect, everything, list_them
from messagebroker.errors import Refused
from messagebroker.ops import groups, subscription_removal, subscription_warnings, subscriptions, webhooks
from messagebroker.ops.channels import CHANNELS
from messagebroker.ops.subscriptions import Details
from messagebroker.settings import Settings

app = typer.Typer()

_CLEARED = {"filter": "filter", "owner": "owner", "group": "group_id", "schedule": "schedule", "ordered-by": "ordered_by"}

Channel = Annotated[str, typer.Option("--channel", help=f"One of {', '.join(CHANNELS)}.")]
Topic = Annotated[list[str] | None, typer.Option("--topic", help="A topic, * stands for anything; may be repeated.")]
Url = Annotated[str | None, typer.Option("--url", help="Webhook: where it is.")]
To = Annotated[list[str] | None, typer.Option("--to", help="E-mail: an address; may be repeated.")]
ConfigText = Annotated[str | None, typer.Option("--config", help="JSON in the channel's shape, or @FILE.")]
SecretsFile = Annotated[Path | None, typer.Option("--secrets", help="A file with JSON in the channel's shape.")]
Filter = Annotated[str | None, typer.Option("--filter", help='JSON such as {"priorities": ["critical"]}, or @FILE.')]
Owner = Annotated[str | None, typer.Option("--owner", help="The address of the user whose it is.")]
GroupName = Annotated[str | None, typer.Option("--group", help="The group whose members see it.")]
Client = Annotated[str | None, typer.Option("--client", help="Pull: the client that takes the messages.")]
OrderedBy = Annotated[str | None, typer.Option("--ordered-by", help="Pull: client, topic, sender or correlation_id.")]
Schedule = Annotated[str | None, typer.Option("--schedule", help="Seconds before each try, such as 0,5,300.")]


@app.command("list")
def list_all(
    channel: Annotated[str | None, typer.Option("--channel", help="Only those of this channel.")] = None,
    owner: Owner = None,
    as_json: AsJson = False,
) -> None:
    """List subscriptions in the order in which they were made.

    Example: messagebroker subscriptions list --channel email
    """
    connect()
    list_them(everything(channel, owner), as_json=as_json)


@app.command()
def show(number: Number, as_json: AsJson = False) -> None:
    """Show one subscription, but for its secrets, and how it does: what waits, what failed, when it last worked.

    Example: messagebroker subscriptions show 7
    """
    connect()
    print_fields({**document(subscriptions.find(number)), **document(webhooks.state(number))}, as_json=as_json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="For people.")],
    channel: Channel,
    topic: Topic = None,
    url: Url = None,
    to: To = None,
    config: ConfigText = None,
    secrets: SecretsFile = None,
    filter_: Filter = None,
    owner: Owner = None,
    group: GroupName = None,
    client: Client = None,
    ordered_by: OrderedBy = None,
    schedule: Schedule = None,
    as_json: AsJson = False,
) -> None:
    """Subscribe. A webhook's signing secret is drawn and shown here, once.

    Example: messagebroker subscriptions create shop --channel webhook --topic 'orders.*' --url https://shop.example.org/hooks
    Example: messagebroker subscriptions create alarms --channel email --topic alarms --to ops@example.org
    Example: messagebroker subscriptions create till --channel pull --topic 'prices.*' --client till-7 --ordered-by topic
    """
    settings = connect()
    given = _given(name, topic, url, to, config, secrets, filter_, owner, group, client, ordered_by, schedule)
    made = subscriptions.create(settings, {**given, "channel": channel}, this_user())
    shown = document(made.details)
    if made.signing_secret is not None:
        shown["signing_secret"] = made.signing_secret
        typer.echo("the signing secret is shown only now; the receiver needs it to check signatures", err=True)
    print_fields(shown, as_json=as_json)
    _warn(settings, made.details)


@app.command("change")
def change(
    number: Number,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    topic: Topic = None,
    url: Url = None,
    to: To = None,
    config: ConfigText = None,
    secrets: SecretsFile = None,
    filter_: Filter = None,
    owner: Owner = None,
    group: GroupName = None,
    client: Client = None,
    ordered_by: OrderedBy = None,
    schedule: Schedule = None,
    clear: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(_CLEARED)}; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change a subscription; what is not named stays. --topic replaces the whole list.

    Example: messagebroker subscriptions change 7 --url https://shop.example.org/new --schedule 0,10,60
    Example: messagebroker subscriptions change 7 --clear filter
    """
    settings = connect()
    given = _given(name, topic, url, to, config, secrets, filter_, owner, group, client, ordered_by, schedule)
    for word in clear or ():
        if word not in _CLEARED:
            raise Refused(f"--clear {word}: what can be cleared is {', '.join(_CLEARED)}")
        if _CLEARED[word] in given:
            raise Refused(f"--{word} and --clear {word} contradict each other")
        given[_CLEARED[word]] = None
    if not given:
        raise Refused("nothing to change was named; `messagebroker subscriptions change -h` lists what can be")
    changed = subscriptions.change(settings, number, given, this_user())
    print_fields(document(changed), as_json=as_json)
    _warn(settings, changed)


@app.command()
def enable(number: Number, as_json: AsJson = False) -> None:
    """Switch a subscription on again; its failures are forgotten.

    Example: messagebroker subscriptions enable 7
    """
    connect()
    print_fields(document(subscriptions.enable(number, this_user())), as_json=as_json)


@app.command()
def disable(
    number: Number,
    why: Annotated[str | None, typer.Option("--why", help="For those who find it so.")] = None,
    as_json: AsJson = False,
) -> None:
    """Switch a subscription off: what becomes due meanwhile is a dead letter.

    Example: messagebroker subscriptions disable 7 --why 'the shop is moving'
    """
    connect()
    print_fields(document(subscriptions.disable(number, this_user(), why=why)), as_json=as_json)


@app.command()
def remove(number: Number, yes: Yes = False) -> None:
    """End a subscription: what was still to be delivered is cancelled, the history stays.

    Example: messagebroker subscriptions remove 7
    """
    connect()
    found = subscriptions.find(number)
    typer.echo(f"{found.name} ({found.channel}), topics {', '.join(found.topics)}: what waits for it will be cancelled")
    if not yes and typer.prompt("Type its name to remove it") != found.name:
        raise Refused("that is not its name; nothing was removed")
    cancelled = subscription_removal.remove(number, this_user())
    typer.echo(f"subscription {number} is removed, {cancelled} deliveries were cancelled")


app.command()(replaying.replay)


def _warn(settings: Settings, made: Details) -> None:
    for line in subscription_warnings.warnings(settings, made):
        typer.echo(f"warning: {line}", err=True)


def _given(
    name: str | None,
    topics: list[str] | None,
    url: str | None,
    to: list[str] | None,
    config: str | None,
    secrets: Path | None,
    chosen: str | None,
    owner: str | None,
    group: str | None,
    client: str | None,
    ordered_by: str | None,
    schedule: str | None,
) -> dict[str, Any]:
    settings = {**(_json("--config", config) or {}), **({"url": url} if url else {}), **({"to": to} if to else {})}
    values = {
        "name": name,
        "topics": topics or None,
        "config": settings or None,
        "secrets": None if secrets is None else _json("--secrets", f"@{secrets}"),
        "filter": _json("--filter", chosen),
        "owner": owner,
        "group_id": None if group is None else groups.by_name(group).id,
        "client": client,
        "ordered_by": ordered_by,
        "schedule": None if schedule is None else _numbers(schedule),
    }
    return {field: value for field, value in values.items() if value is not None}


def _json(option: str, text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except OSError as error:
        raise Refused(f"{option}: {text[1:]} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Refused(f"{option} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refused(f"{option} is a JSON object")
    return found


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise Refused("--schedule is a list of seconds such as 0,5,300") from error
