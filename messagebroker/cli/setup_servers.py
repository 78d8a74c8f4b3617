"""`messagebroker setup servers` and `setup handover`: what a Compose project does before and after its first start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from messagebroker.errors import NotFound
from messagebroker.ops import handover as handing
from messagebroker.ops import homes
from messagebroker.ops.server_secrets import Address, MySQLSecrets, RedisSecrets, grafana_password


def servers(
    root: Annotated[Path, typer.Option(help="Where the installation is.", file_okay=False)] = homes.DEFAULT_ROOT,
    mysql: Annotated[str, typer.Option(help="MySQL's address for the roles.")] = "mysql:3306",
    redis: Annotated[str, typer.Option(help="Redis' address for the roles.")] = "redis:6379",
    grafana: Annotated[bool, typer.Option("--grafana", help="Grafana's admin gets a password too.")] = False,
) -> None:
    """Make the passwords of MySQL and Redis, in ROOT/servers/mysql and ROOT/servers/redis and for main. Safe to repeat.

    Example: messagebroker setup servers --mysql mysql:3306 --redis redis:6379
    """
    environment = homes.main_home(root.absolute()) / ".env"
    written = [
        *MySQLSecrets(root / "servers" / "mysql").make(environment, _address(mysql, 3306)),
        *RedisSecrets(root / "servers" / "redis").make(environment, _address(redis, 6379)),
    ]
    if grafana:
        written += grafana_password(root / "servers" / "grafana")
    for path in dict.fromkeys(written):
        typer.echo(f"{path}: written")
    typer.echo("the servers' passwords are as they have to be")


def handover(
    folder: Annotated[Path, typer.Option("--from", help="The folder that `setup --handover` wrote.", file_okay=False)],
    keep: Annotated[bool, typer.Option("--keep", help="Leave the files there.")] = False,
) -> None:
    """Show the admin's one-time password and the recovery key, and remove them from this machine.

    Example: messagebroker setup handover --from /var/lib/messagebroker/handover
    """
    paths = [path for name in (handing.PASSWORD, handing.RECOVERY_KEY) if (path := folder / name).exists()]
    if not paths:
        raise NotFound(f"nothing waits in {folder}: it was shown before, or `messagebroker setup` did not run yet")
    for path in paths:
        typer.echo(f"{path.stem.replace('-', ' ')}: {path.read_text(encoding='utf-8').strip()}")
    if keep:
        return
    for path in paths:
        path.unlink()
    typer.echo("keep both away from this machine; they are not shown again")


def _address(text: str, port: int) -> Address:
    host, _, given = text.rpartition(":") if ":" in text else (text, "", str(port))
    if not host or not given.isdigit():
        raise typer.BadParameter(f"{text!r} is no address; write HOST:PORT, such as mysql:{port}")
    return Address(host, int(given))
