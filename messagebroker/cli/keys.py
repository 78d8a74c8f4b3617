"""`messagebroker keys status | rotate | verify | destroy`: the master keys. Works with main stopped."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from messagebroker.cli.actor import this_user
from messagebroker.cli.progress import counting
from messagebroker.db.connection import open_database
from messagebroker.db.schema import require_current
from messagebroker.errors import Refused
from messagebroker.ops import homes, key_needs, master_keys
from messagebroker.ops.stopping import stop_event
from messagebroker.settings import Settings, load

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the master keys, the newest first, and how many data keys are sealed to each.

    Example: messagebroker keys status
    """
    found = master_keys.status(_opened())
    if as_json:
        typer.echo(msgspec.json.encode({"keys": found}).decode())
        return
    for key in found:
        typer.echo(f"{key.id}  {key.state:8} made {key.created_at or 'at a time nobody knows':26} {key.data_keys:,} data keys")
    if any(key.state == "retired" and key.data_keys for key in found):
        typer.echo("`messagebroker keys rotate --resume` moves data keys of retired keys to the current one")
    if any(key.state == "missing" for key in found):
        typer.echo("messages under missing keys cannot be read; `messagebroker backup restore` brings keys back")


@app.command()
def rotate(
    resume: Annotated[bool, typer.Option("--resume", help="No new key: go on where a rotation ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new master key, have proxies seal to it, and seal all data keys to it, while everything runs.

    Messages themselves stay as they are. It may be stopped or killed at any time; --resume goes on. Retired keys stay until
    they are destroyed, since queued calls and backups need them.

    Example: messagebroker keys rotate
    """
    settings = _opened()
    with counting("sealing data keys", quiet=as_json) as progress:
        done = master_keys.rotate(settings, this_user(), resume=resume, progress=progress, stop=stop_event())
    if as_json:
        typer.echo(msgspec.json.encode(done).decode())
    else:
        typer.echo(f"{done.current} is the {'new ' * done.is_new}master key; {done.resealed:,} data keys were sealed to it")
        if done.remaining:
            typer.echo(f"{done.remaining:,} data keys are under retired keys; `messagebroker keys rotate --resume` goes on")
        if done.is_new and homes.are_around(settings):
            typer.echo("workers have their own copy of the master keys: run `messagebroker setup` to hand the new one out")
        if done.is_new:
            typer.echo("make a backup now: older ones do not hold the new key")
    if done.damaged:
        raise Refused(f"{len(done.damaged)} data keys do not open and stay as they are: {', '.join(done.damaged[:5])}")


@app.command()
def verify(as_json: AsJson = False) -> None:
    """List who still needs a retired master key: data keys, failed records, calls in Redis, kept backups.

    Example: messagebroker keys verify
    """
    settings = _opened()
    found = master_keys.needs(settings)
    states = master_keys.status(settings)
    retired = [key.id for key in states if key.state == "retired"]
    if as_json:
        free = [key for key in retired if key not in {need.key for need in found}]
        typer.echo(msgspec.json.encode({"needs": found, "free": free}).decode())
    else:
        for key in retired:
            by = [key_needs.sentence(need) for need in found if need.key == key]
            typer.echo(f"{key}  needed by {'; '.join(by)}" if by else f"{key}  needed by nobody: it can be destroyed")
        if not retired:
            typer.echo("there is no retired master key")
    if missing := [key.id for key in states if key.state == "missing"]:
        raise Refused(f"data keys name master keys that are not here: {', '.join(missing)}; a backup of that time has them")


@app.command()
def destroy(
    key: Annotated[str, typer.Argument(help="The id of a retired key, as `keys status` shows it.")],
    confirm: Annotated[str | None, typer.Option("--confirm", help="The id once more, instead of being asked for it.")] = None,
) -> None:
    """Destroy a retired master key. Refused as long as anybody needs it; backups older than its rotation keep it, sealed.

    Example: messagebroker keys destroy 0123456789abcdef
    """
    settings = _opened()
    typed = confirm if confirm is not None else typer.prompt(f"What only {key} opens is lost for ever. Type its id again")
    if typed.strip() != key:
        raise Refused("that is another id; nothing was destroyed")
    master_keys.destroy(settings, key, this_user())
    typer.echo(f"{key} is destroyed")
    if homes.are_around(settings):
        typer.echo("workers have their own copy of the master keys: run `messagebroker setup` to take it from them too")


def _opened() -> Settings:
    settings = load(role="main")
    open_database(settings)
    require_current()
    return settings
