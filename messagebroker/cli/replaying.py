"""`messagebroker subscriptions replay`: what was never for a subscription."""

from __future__ import annotations

from datetime import UTC

import typer

from messagebroker.cli.actor import this_user
from messagebroker.cli.printing import document, print_fields
from messagebroker.cli.subscription_list import AsJson, DryRun, Number, Rate, Since, Until, Yes, connect
from messagebroker.ops import subscriptions
from messagebroker.ops.deliveries.routing import router_of
from messagebroker.ops.replaying import Replay, Replayed


def replay(
    number: Number,
    since: Since,
    until: Until = None,
    rate: Rate = 50,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give a subscription what was never for it: stored before it was made, or while it was disabled.

    What it had and failed is for `dead-letters retry`, or `webhooks recover`; nothing that it had comes again by this.

    Example: messagebroker subscriptions replay 7 --since 2026-11-20T08:00:00 --dry-run
    Example: messagebroker subscriptions replay 7 --since 2026-11-20T08:00:00 --rate 20
    """
    settings = connect()
    details = subscriptions.find(number)
    begin, end = since.replace(tzinfo=UTC), None if until is None else until.replace(tzinfo=UTC)
    router = router_of(settings)
    if dry_run or not yes:
        found = Replay(router, number, rate=rate, report=_Progress("found", quiet=as_json).report).preview(begin, end)
        if dry_run or not found.found:  # nobody is asked about nothing
            print_fields(document(found), as_json=as_json)
            return
        if not typer.confirm(_question(found, details.name, rate), err=as_json):
            raise typer.Exit(1)
    done = Replay(router, number, rate=rate, report=_Progress("given", quiet=as_json).report).run(begin, end, this_user())
    print_fields(document(done), as_json=as_json)


def _question(found: Replayed, name: str, rate: int) -> str:
    rest = "" if found.next_since is None else "; there are more, for another replay"
    return f"Give {found.found:,} messages to {name}, {rate} a second ({found.lasts_seconds:.0f} s{rest})?"


class _Progress:
    """A line whenever the number has changed: thousands of messages are looked at in between."""

    def __init__(self, what: str, *, quiet: bool) -> None:
        self._what = what
        self._quiet = quiet
        self._last = 0

    def report(self, number: int) -> None:
        if not self._quiet and number != self._last:
            typer.echo(f"{number:,} {self._what}", err=True)
        self._last = number
