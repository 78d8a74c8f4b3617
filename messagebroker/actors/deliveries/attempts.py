"""What a channel makes of deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from messagebroker.actors.deliveries.items import LONGEST_ATTEMPT, Item
from messagebroker.errors import Damaged
from messagebroker.ops.channels.channel import Channel, Outcome, Work
from messagebroker.ops.deliveries.claimed import Pair
from messagebroker.ops.deliveries.opening import Payloads

_log = structlog.get_logger("messagebroker.deliveries")


async def outcomes(channel: Channel, items: Sequence[Item], payloads: Payloads) -> dict[Pair, Outcome]:
    """One attempt of some deliveries by their channel. Whatever goes wrong in this program is an outcome too."""
    found: dict[Pair, Outcome] = {}
    works: list[tuple[Item, Work]] = []
    for item in items:
        try:
            works.append((item, item.work(payloads)))
        except Damaged as error:
            found[item.pair] = Outcome(kind="failed", error=str(error))
        except Exception as problem:  # noqa: BLE001 - a defect, which is no end of deliveries
            _log.error("a message cannot be prepared by this program", exc_info=problem)
            found[item.pair] = Outcome(kind="retry", error=f"{type(problem).__name__}: {problem}")
    if works:
        found.update(zip([item.pair for item, _ in works], await _delivered(channel, works), strict=True))
    return found


async def _delivered(channel: Channel, works: list[tuple[Item, Work]]) -> Sequence[Outcome]:
    try:
        async with asyncio.timeout(LONGEST_ATTEMPT):
            outcomes = await channel.deliver([work for _, work in works])
        if len(outcomes) != len(works):
            raise ValueError(f"{len(outcomes)} outcomes of {len(works)} deliveries")
        return outcomes
    except TimeoutError:
        error = f"no end within {LONGEST_ATTEMPT:.0f} s"
    except Exception as problem:  # noqa: BLE001 - a defect of a channel is no end of deliveries
        _log.error("an attempt failed in this program", channel=channel.name, exc_info=problem)
        error = f"{type(problem).__name__} in this program, whose log says more"  # not the text, which may cite the message
    return [Outcome(kind="retry", error=error) for _ in works]
