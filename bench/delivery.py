"""`just bench-delivery`: from a submit to a webhook, how long and how many; destinations that hang; pulls; due retries.

python -m bench.delivery [--out docs/bench] [--only latency,rate,hanging,pulls,overtaking,due]
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import psutil
from support.installation import ClientFiles, Installation
from support.servers import MariaDB, Redis, free_port
from support.subscribing import subscribe

from bench import delivery_due, delivery_pulls, delivery_report
from bench.report import machine
from messagebroker.db.connection import open_database
from messagebroker.db.models import AllowedNetwork, Delivery, Subscription
from messagebroker.ops import clock

LATENCY_RATE, LATENCY_SECONDS = 100, 30
RATE_MESSAGES, BATCH = 30_000, 500
DESTINATIONS = 1000
HANGING_RATE, HANGING_SECONDS, WARM_SECONDS = 300, 40, 20
BACKLOG, OVERTAKERS = 100_000, 20
TIMEOUT = 15


@dataclass
class Bench:
    """A running installation, and where its webhooks go."""

    it: Installation
    client: ClientFiles
    folder: Path
    port: int

    def address(self, kind: str, number: int = 0) -> str:
        """Of a destination: `ok` or `hang`."""
        return f"http://127.0.0.1:{self.port}/{kind}/{number}"

    @property
    def proxy(self) -> list[str]:
        """What load generators are told."""
        port = self.it.url("proxy").rsplit(":", 1)[1]
        return ["127.0.0.1", port, str(self.client.cert), str(self.client.key), str(self.client.ca)]

    @contextmanager
    def receiving(self) -> Iterator[list[Any]]:
        """What came, once the block has ended: [time, kind, latency in ms]."""
        out = self.folder / "arrivals.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.receiver", str(self.port), str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        came: list[Any] = []
        try:
            yield came
        finally:
            process.stdin.close()
            process.wait(30)
            process.stdout.close()
        came.extend(json.loads(out.read_text(encoding="utf-8")))

    def webhook(self, topic: str, kind: str = "ok", number: int = 0) -> int:
        """A subscription of that topic alone."""
        return subscribe([topic], config={"url": self.address(kind, number), "timeout": TIMEOUT})

    def forget(self) -> None:
        """Nothing is subscribed, nothing waits."""
        Subscription.update(removed_at=clock.now(), changed_at=clock.now()).where(Subscription.removed_at.is_null()).execute()
        Delivery.update(status="cancelled", due_at=None).where(Delivery.status << ("pending", "processing")).execute()
        time.sleep(2)

    def steady(self, rate: float, seconds: float, topics: list[str], priority: str = "normal") -> dict[str, Any]:
        """Single messages at a rate; every one was accepted."""
        command = [sys.executable, "-m", "bench.steady", *self.proxy, str(rate), str(seconds), priority, *topics]
        found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=300).stdout)
        if found["statuses"] != {"202": found["sent"]}:
            raise SystemExit(f"not everything was accepted: {found['statuses']}")
        return found

    def wait_until_delivered(self, seconds: float = 120) -> None:
        """Everything is stored, and no delivery is open any more."""
        self.it.wait_until_drained()
        deadline = time.monotonic() + seconds
        while Delivery.select().where(Delivery.status << ("pending", "processing")).exists():
            if time.monotonic() > deadline:
                raise SystemExit(f"deliveries are still open after {seconds} s")
            time.sleep(0.05)


def latency(bench: Bench) -> dict[str, Any]:
    """Submit to arrival at 100 single messages a second."""
    bench.webhook("latency")
    time.sleep(2)
    with bench.receiving() as came:
        bench.steady(LATENCY_RATE, 3, ["latency"])  # connections, data keys, windows
        warm = time.time()
        bench.steady(LATENCY_RATE, LATENCY_SECONDS, ["latency"])
        bench.wait_until_delivered()
    times = sorted(lag for at, _, lag in came if at > warm)
    if len(times) < LATENCY_RATE * LATENCY_SECONDS:
        raise SystemExit(f"{len(times)} of {LATENCY_RATE * LATENCY_SECONDS} messages arrived")
    percentiles = [times[min(int(len(times) * percent / 100), len(times) - 1)] for percent in range(101)]
    return {"p50_ms": percentiles[50], "p99_ms": percentiles[99], "messages": len(times), "series": percentiles}


def rate(bench: Bench) -> dict[str, Any]:
    """Arrivals a second while there is always something to deliver, to ten destinations; the middle 80 %."""
    for number in range(10):
        bench.webhook(f"rate.{number}", number=number)
    time.sleep(2)
    before = _processor(bench)
    with bench.receiving() as came:
        began = time.time()
        for number in range(10):
            _batches(bench, f"rate.{number}", RATE_MESSAGES // 10)
        bench.wait_until_delivered()
        seconds = time.time() - began
    after = _processor(bench)
    times = sorted(at for at, _, _ in came)
    if len(times) < RATE_MESSAGES:
        raise SystemExit(f"{len(times)} of {RATE_MESSAGES} messages arrived")
    first, last = int(len(times) * 0.1), int(len(times) * 0.9)
    found = {"deliveries_per_second": (last - first) / (times[last] - times[first]), "whole": len(times) / seconds}
    seconds_of = collections.Counter(int(at - times[0]) for at in times)
    series = [seconds_of[second] for second in range(max(seconds_of) + 1)]
    return found | {f"us_{name}": (after[name] - before[name]) / len(times) * 1e6 for name in after} | {"series": series}


def _processor(bench: Bench) -> dict[str, float]:
    found = {}
    for name in ("proxy", "worker"):
        process = psutil.Process(bench.it.pid(name))
        family = [process, *process.children(recursive=True)]
        found[name] = sum(sum(one.cpu_times()[:2]) for one in family)
    return found


def _batches(bench: Bench, topic: str, messages: int, priority: str = "normal") -> None:
    body = bench.folder / "batch.json"
    item = {"topic": topic, "body": "x" * 200, "priority": priority}
    body.write_text(json.dumps({"messages": [item] * BATCH}), encoding="utf-8")
    load = [*bench.proxy, str(body), "/api/v1/messages/batch", "2", str(messages // BATCH)]
    done = subprocess.run([sys.executable, "-m", "bench.load", *load], capture_output=True, check=True, timeout=300)
    if json.loads(done.stdout)["statuses"] != {"202": messages // BATCH}:
        raise SystemExit("not every batch was accepted")


def hanging(bench: Bench) -> dict[str, float]:
    """What 500 destinations get each second when all 1,000 answer, and when the other 500 hang for their full time-out."""
    half = DESTINATIONS // 2
    topics = [f"d.{number}" for number in range(DESTINATIONS)]
    found = {}
    for name, kind in (("all_answer", "ok"), ("half_hang", "hang")):
        for number in range(DESTINATIONS):
            bench.webhook(f"d.{number}", "ok" if number < half else kind, number)
        time.sleep(3)
        with bench.receiving() as came:
            sent = bench.steady(HANGING_RATE, WARM_SECONDS + HANGING_SECONDS, topics)
            time.sleep(1)
            if kind == "ok":
                bench.wait_until_delivered()
        begin, end = sent["began"] + WARM_SECONDS, sent["began"] + WARM_SECONDS + HANGING_SECONDS
        good = [(at, lag) for at, what, lag in came if what == "ok" and begin <= at < end]
        share = 0.5 if kind == "ok" else 1.0  # with all answering, half of what comes is of the first 500
        found[f"{name}_per_second"] = len(good) * share / HANGING_SECONDS
        lags = sorted(lag for _, lag in good)
        found[f"{name}_p99_ms"] = lags[int(len(lags) * 0.99)]
        bench.forget()
    return found | {"kept": found["half_hang_per_second"] / found["all_answer_per_second"]}


def overtaking(bench: Bench) -> dict[str, float]:
    """Until a critical message arrives while 100,000 low ones wait, in Redis and in the table, for the same destination."""
    bench.webhook("backlog")
    time.sleep(2)
    lags = []
    with bench.receiving() as came:
        _batches(bench, "backlog", BACKLOG, priority="low")
        for _ in range(OVERTAKERS):
            bench.steady(1, 1, ["backlog"], priority="critical")
        left = Delivery.select().where(Delivery.status << ("pending", "processing")).count() + bench.it.waiting()
        bench.forget()
    lags = sorted(lag for _, _, lag in came if lag is not None)
    if len(lags) < OVERTAKERS or not left:
        raise SystemExit(f"{len(lags)} of {OVERTAKERS} critical messages arrived, {left} low ones waited")
    return {"median_ms": lags[len(lags) // 2], "slowest_ms": lags[-1], "still_waiting": left}


def due(bench: Bench) -> dict[str, float]:
    """The worker is stopped: it would cancel deliveries of subscriptions that are not there."""
    bench.it.stop("worker")
    return delivery_due.measure()


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "latency": latency,
    "rate": rate,
    "hanging": hanging,
    "pulls": lambda bench: delivery_pulls.measure(bench.it),
    "overtaking": overtaking,
    "due": due,
}


def main() -> None:
    """Measures, prints, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/bench"))
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--workers", type=int, default=1, help="processes of the worker")
    arguments = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    series: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Redis("--appendonly", "yes", "--appendfsync", "always") as redis,
        MariaDB() as server,
        Installation(
            Path(folder),
            redis_url=redis.url,
            database_url=server.url(),
            worker_count=arguments.workers,
            max_connections_per_address=2000,
        ) as it,
    ):
        open_database(it.settings)
        AllowedNetwork.create(network="127.0.0.0/8", reason="bench", added_by="cli:bench", added_at=clock.now())
        it.start("main", "proxy", "worker")
        bench = Bench(it, it.client("bench"), Path(folder), free_port())
        for part in arguments.only.split(","):
            print(f"{part} …", flush=True)
            found[part] = PARTS[part](bench)
            if "series" in found[part]:
                series[part] = found[part].pop("series")
            for name, value in found[part].items():
                print(f"  {name:28} {value:12,.2f}", flush=True)
            bench.forget()
    date = datetime.now(UTC).date().isoformat()
    document = {"date": date, "machine": machine(), "workers": arguments.workers, "parts": found, "series": series}
    target = arguments.out / f"delivery-{date}.json"
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(delivery_report.markdown(document), encoding="utf-8")
    if {"latency", "rate"} <= series.keys():
        delivery_report.plot(document, target.with_suffix(".png"))
    if missed := delivery_report.misses(document):
        raise SystemExit("\n".join(["this run does not reach what is asked for:", *missed]))


if __name__ == "__main__":
    main()
