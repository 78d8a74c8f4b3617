"""`just bench-api`: every filter that the list of messages offers, at both ends and in the middle of five million rows.

python -m bench.api [--rows 5000000] [--requests 1000] [--seconds 10] [--out docs/bench]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import peewee as pw
from support.installation import Installation
from support.servers import MariaDB, Redis

from bench import api_rows
from bench.api_cases import Case, Span, cases
from messagebroker.client import ApiClient, Caller
from messagebroker.db.connection import open_database
from messagebroker.db.models import Client, Group, GroupMember, GroupTopic, User
from messagebroker.ops import clock, cursors, filters, keyring, messages, ranges, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.filters import Filters
from messagebroker.ops.scope import scope_of

POOL = "1G"
PASSWORD = "carrots under a tin roof 7"  # nosec B105
ROUNDS = 3
LEAST = 200  # requests of a cell in a round: with fewer a p99 would be the highest of them
WHERE = ("first page", "middle", "last page")


def main() -> None:
    """Fills, measures, prints, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--requests", type=int, default=1000, help=f"of a cell in a round, at the most; {LEAST} at the least")
    parser.add_argument("--seconds", type=float, default=10.0, help=f"for the {ROUNDS} rounds of a cell")
    parser.add_argument("--out", type=Path, default=Path("docs/bench"))
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Redis() as redis,
        MariaDB(f"--innodb-buffer-pool-size={POOL}") as server,
        Installation(
            Path(folder), redis_url=redis.url, database_url=server.url(), api_rate_per_user=10**6, api_rate_per_address=10**6
        ) as it,
    ):
        database = open_database(it.settings)
        span = api_rows.timed_fill(database, arguments.rows, _sender_hash(it))
        _people()
        it.start("main")
        found = list(_measured(it, database, span, arguments.requests, arguments.seconds / ROUNDS))
    _tell(found, arguments.rows)
    date = datetime.now(UTC).date().isoformat()
    document = {"date": date, "rows": arguments.rows, "requests": arguments.requests, "rounds": ROUNDS, "pool": POOL,
                "cases": [{"name": case.name, **asdict(case), "figures": case.figures} for case in found]}  # fmt: skip
    (arguments.out / f"api-{date}.json").write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")


def _sender_hash(it: Installation) -> bytes:
    return keyring.sender_hash(keyring.sender_key(it.settings), api_rows.HOT_SENDER)


def _people() -> None:
    """An operator, somebody with ten clients and five topics, and somebody with as many as a list takes."""
    actor = Actor(name="cli:bench")
    for name, role in (("operator", "operator"), ("member", "user"), ("everywhere", "user")):
        users.create(f"{name}@example.org", role, password=PASSWORD, actor=actor)
    most = filters.MOST_RANGES
    for name, clients, topics in (("member", 10, 5), ("everywhere", most - 7 * 12, 12)):
        person = User.get(User.email == f"{name}@example.org")
        group = Group.create(name=name, created_at=clock.now())
        GroupMember.insert(group=group, user=person, added_at=clock.now()).execute()
        for number in range(clients):
            Client.insert(name=f"{name}-{number}", owner=None, group=group, created_at=clock.now()).execute()
        for number in range(topics):
            GroupTopic.insert(group=group, topic=f"topic.{number}", added_at=clock.now()).execute()
    # clients of rows that are there: a client has one group, so each of the two people gets some
    for number in range(1, 80):
        group = Group.get(Group.name == ("member" if number % 8 == 0 else "everywhere"))
        spare = Client.select().where(Client.group == group, Client.name.startswith(group.name)).first()
        if spare is not None:
            Client.update(name=f"client-{number}").where(Client.name == spare.name).execute()


def _measured(it: Installation, database: pw.Database, span: Span, requests: int, seconds: float) -> Iterator[Case]:
    files = it.client("bench")
    with ApiClient(it.url("main"), ca=files.ca) as api:
        callers = {
            who: Caller(token=api.login(f"{who}@example.org", PASSWORD).access_token)
            for who in ("operator", "member", "everywhere")
        }
        found = list(cases(span))
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS} …", flush=True)
            for case in found:
                for where in WHERE:
                    positions = islice(_positions(case, where, case.span or span), requests)
                    case.rounds.setdefault(where, []).append(_times(api, callers[case.who], case, positions, seconds))
    for case in found:
        case.plan = _plan(it, database, case, span)
        _line(case)
        yield case


def _positions(case: Case, where: str, span: Span) -> Iterator[str | None]:
    """Cursors: near each other, so that the cache is as warm as for people who leaf through a list, but never the same."""
    began, until = span
    near_the_end = until - timedelta(hours=3) if case.oldest_first else began + timedelta(hours=3)
    middle = began + (until - began) / 2 if where == "middle" else near_the_end
    while True:
        moment = middle + timedelta(seconds=random.uniform(-7200, 7200))  # nosec B311
        if where == "first page":
            yield None
        elif case.asked == {"status": "scheduled"}:
            yield cursors.of_due(moment, api_rows.id_at(moment))
        else:
            yield cursors.of_id(api_rows.id_at(moment))


def _times(
    api: ApiClient, caller: Caller, case: Case, positions: Iterator[str | None], seconds: float
) -> tuple[float, float, int]:
    """p50, p99 and of how many: what there are positions for, or as many as fit into the time."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    for cursor in positions:
        began = time.perf_counter()
        if began > until and len(times) >= LEAST:
            break
        api.messages(caller, limit=50, cursor=cursor, **case.params)
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return round(times[len(times) // 2], 2), round(times[min(len(times) - 1, int(len(times) * 0.99))], 2), len(times)


def _plan(it: Installation, database: pw.Database, case: Case, span: Span) -> str:
    """What the server says of the statement in the middle of the table: index, access, rows that it expects, extras."""
    since, until = case.span or (None, None)
    asked: dict[str, Any] = {**case.asked, "since": since, "until": until, "newest_first": not case.oldest_first}
    if "sender" in asked:
        asked["sender"] = _sender_hash(it)
    middle = span[0] + (span[1] - span[0]) / 2
    if case.asked == {"status": "scheduled"}:
        wanted = Filters(cursor=cursors.of_due(middle, api_rows.id_at(middle)), **asked)
        sql, values = messages._by_due(wanted).limit(51).sql()
    else:
        wanted = Filters(cursor=cursors.of_id(api_rows.id_at(middle)), **asked)
        person = User.get(User.email == f"{case.who}@example.org")
        parts = wanted.ranges() if case.who == "operator" else wanted.ranges_in(scope_of(person))
        sql, values = ranges.statement(parts, wanted.window())
    found = database.execute_sql(f"EXPLAIN {sql}", values)
    names = [column[0] for column in found.description]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    plans = {f"{row['key']} ({row['type']}; {row['Extra']})": 0 for row in rows if row["table"]}
    for row in rows:
        if row["table"] and not str(row["table"]).startswith("<"):
            plans[f"{row['key']} ({row['type']}; {row['Extra']})"] += 1
    return " + ".join(f"{count} × {plan}" if count > 1 else plan for plan, count in plans.items() if count)


def _line(case: Case) -> None:
    figures = "  ".join(f"{p50:6.1f} {p99:6.1f}" for p50, p99 in case.figures.values())
    print(f"{case.who:10} {case.name:48} {figures}  n={case.n}  {case.plan}", flush=True)


def _tell(found: list[Case], rows: int) -> None:
    """As Markdown, for docs/performance.md."""
    print(f"\n{rows:,} rows; p50 / p99 in ms, medians of {ROUNDS} rounds\n")
    print(f"| who | filter | {' | '.join(WHERE)} | n |\n|---|---|--:|--:|--:|--:|")
    for case in found:
        figures = " | ".join(f"{p50:.1f} / {p99:.1f}" for p50, p99 in case.figures.values())
        print(f"| {case.who} | {'none' if case.name == '(no filter)' else f'`{case.name}`'} | {figures} | {case.n} |")
    worst = max(p99 for case in found for _, p99 in case.figures.values())
    print(f"\nthe highest p99: {worst:.1f} ms")


if __name__ == "__main__":
    main()
