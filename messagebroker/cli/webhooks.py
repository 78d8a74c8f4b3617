"""`messagebroker webhooks …`: how they do, and what can be done. Works on the database directly, also while main is down."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC
from typing import Annotated

import typer

from messagebroker.cli.actor import this_user
from messagebroker.cli.printing import as_text, document, print_fields, printable
from messagebroker.cli.subscription_list import AsJson, DryRun, Number, Rate, Since, Until, Yes, connect, everything, list_them
from messagebroker.errors import Refused
from messagebroker.ops import (
    allowed_networks,
    ids,
    resending,
    signing_secrets,
    subscriptions,
    webhook_logs,
    webhook_test,
    webhooks,
)
from messagebroker.ops.deliveries.opening import Payloads

app = typer.Typer()

_PAGE = 200
_OUTCOMES = "Only delivered, retry (it may pass: no answer, 5xx), failed (for good: 4xx) or gone (410)."
Reason = Annotated[str, typer.Option("--reason", help="For those who come later.")]
Network = Annotated[str, typer.Argument(help="Such as 10.1.0.0/16.")]


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the webhooks. `subscriptions create` makes one.

    Example: messagebroker webhooks list --json
    """
    connect()
    list_them(everything(webhooks.CHANNEL), as_json=as_json)


@app.command()
def show(number: Number, as_json: AsJson = False) -> None:
    """Show how a webhook does: what waits, what failed, and when it last worked.

    Example: messagebroker webhooks show 7
    """
    connect()
    details = webhooks.require_webhook(subscriptions.find(number))
    print_fields({**document(details), **document(webhooks.state(number))}, as_json=as_json)


@app.command()
def logs(
    number: Number,
    outcome: Annotated[str | None, typer.Option(help=_OUTCOMES)] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=10_000)] = 20,
    answers: Annotated[bool, typer.Option("--answers", help="With what the receiver said; the audit log keeps it.")] = False,
    headers: Annotated[bool, typer.Option("--headers", help="With the headers that were sent, secrets masked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the attempts of a webhook. With `--json` headers are always there.

    Example: messagebroker webhooks logs 7 --outcome retry --limit 100
    Example: messagebroker webhooks logs 7 --limit 1 --headers --answers
    """
    settings = connect()
    if outcome is not None and outcome not in webhook_logs.OUTCOMES:
        raise Refused(f"--outcome {outcome}: there are {', '.join(webhook_logs.OUTCOMES)}")
    webhooks.require_webhook(subscriptions.find(number))
    if answers:
        found = webhook_logs.page_with_answers(Payloads(settings), this_user(), number, limit=limit, outcome=outcome)
    else:
        found = webhook_logs.page(number, limit=limit, outcome=outcome)
    if as_json:
        typer.echo(json.dumps([document(entry) for entry in found]))
        return
    if not found:
        typer.echo("no attempts" if outcome is None else f"no attempts that ended as {outcome}")
    for entry in found:
        said = f"{entry.duration_ms:6} ms  {entry.code or '–'} {printable(entry.error or '')}".rstrip()
        typer.echo(f"{as_text(entry.started_at)}  {entry.message_id}  try {entry.number}  {entry.outcome:9} {said}")
        for name, value in (entry.request or {}).items() if headers else ():
            typer.echo(f"    > {printable(name)}: {printable(value)}")
        for line in (entry.answer or "").splitlines():
            typer.echo(f"    {printable(line)}")


@app.command("test")
def send_test(number: Number, as_json: AsJson = False) -> None:
    """Send a signed test event now; it is stored nowhere.

    Example: messagebroker webhooks test 7
    """
    settings = connect()
    tested = webhook_test.run(settings, number, this_user())
    print_fields(document(tested), as_json=as_json)
    if not tested.delivered:
        raise typer.Exit(1)


@app.command()
def resend(
    number: Number,
    message_id: Annotated[str, typer.Argument(help="The message's id.")],
    as_json: AsJson = False,
) -> None:
    """Send one message again, also one that was delivered; its id stays, so that receivers can drop copies.

    Example: messagebroker webhooks resend 7 0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f
    """
    connect()
    known = ids.parse(message_id)
    if known is None:
        raise Refused(f"{message_id!r} is no message id; one looks like 0190b8e0-7c1e-7cc3-98c4-dc0c0c07398f")
    webhooks.require_webhook(subscriptions.find(number))
    due_at = resending.resend(number, known, this_user())
    if as_json:
        typer.echo(json.dumps({"message_id": ids.text(known), "due_at": due_at.isoformat()}))
        return
    typer.echo(f"message {message_id} goes out again now; `messagebroker webhooks logs {number}` shows what comes of it")


@app.command()
def recover(
    number: Number,
    since: Since,
    until: Until = None,
    rate: Rate = 50,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Send again all that failed since a time, at a rate that the receiver bears.

    Example: messagebroker webhooks recover 7 --since 2026-11-20T08:00:00 --dry-run
    """
    connect()
    webhooks.require_webhook(subscriptions.find(number))
    begin, end = since.replace(tzinfo=UTC), None if until is None else until.replace(tzinfo=UTC)
    found = resending.preview(number, begin, end)
    if dry_run:
        told = {"found": found, "recovered": 0, "more": False, "lasts_seconds": found / rate}
        print_fields(told, as_json=as_json)
        return
    if not yes and not typer.confirm(f"Send {found:,} messages again, {rate} a second ({found / rate:.0f} s)?"):
        raise typer.Exit(1)
    done = resending.recover(number, begin, end, this_user(), rate=rate)
    print_fields(asdict(done), as_json=as_json)


@app.command("rotate-secret")
def rotate_secret(
    number: Number,
    overlap_hours: Annotated[
        float, typer.Option(help="How long the old one is used too.", min=0, max=signing_secrets.LONGEST_OVERLAP_HOURS)
    ] = signing_secrets.USUAL_OVERLAP_HOURS,
    as_json: AsJson = False,
) -> None:
    """Draw a new signing secret; it is shown here, once.

    Example: messagebroker webhooks rotate-secret 7 --overlap-hours 48
    """
    settings = connect()
    rotated = signing_secrets.rotate(settings, number, this_user(), overlap_hours=overlap_hours)
    shown = {"signing_secret": rotated.secret, "old_until": rotated.old_until.isoformat()}
    print_fields(shown, as_json=as_json)


@app.command()
def allow(network: Network, reason: Reason) -> None:
    """Let webhooks reach a private network.

    Example: messagebroker webhooks allow 10.1.0.0/16 --reason 'the warehouse has no other address'
    """
    connect()
    added = allowed_networks.add(network, reason, this_user())
    typer.echo(f"webhooks may reach {added.network}")


@app.command()
def disallow(network: Network, reason: Reason) -> None:
    """Take a private network off the list.

    Example: messagebroker webhooks disallow 10.1.0.0/16 --reason 'the warehouse moved'
    """
    connect()
    allowed_networks.remove(network, reason, this_user())
    typer.echo(f"webhooks do not reach {network} any more")


@app.command()
def allowed(as_json: AsJson = False) -> None:
    """List the private networks that webhooks may reach.

    Example: messagebroker webhooks allowed
    """
    connect()
    found: list[allowed_networks.Entry] = []
    while page := allowed_networks.page(limit=_PAGE, after=found[-1].network if found else None):
        found += page
    if as_json:
        typer.echo(json.dumps([document(entry) for entry in found]))
        return
    for entry in found:
        typer.echo(f"{entry.network:30} since {as_text(entry.added_at)} by {entry.added_by}: {entry.reason}")
