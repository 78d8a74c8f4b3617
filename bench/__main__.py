"""`just bench`: the whole way a message goes, beside what the machine could do at the most, interleaved, median of five.

python -m bench [--rounds 5] [--messages 100000] [--out docs/bench]
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import psutil
from support.installation import ClientFiles, Installation
from support.servers import MariaDB, Redis, free_port, program

from bench import ceilings, report

BATCH = 500
BODY = "x" * 200
ROLES = ("main", "proxy", "worker", "scheduler", "portal")


class Bench:
    """One running installation and the files that the load generators need."""

    def __init__(self, folder: Path, installation: Installation, database: MariaDB, redis: Redis) -> None:
        self.folder = folder
        self.it = installation
        self.url = database.url()
        self.redis = redis
        self.client: ClientFiles = installation.client("bench")
        self.pem = folder / "both.pem"  # ab wants key and certificate in one file
        self.pem.write_bytes(self.client.key.read_bytes() + self.client.cert.read_bytes())
        self.batch_body = folder / "batch.json"
        self.batch_body.write_text(json.dumps({"messages": [{"body": BODY} for _ in range(BATCH)]}), encoding="utf-8")
        self.single_body = folder / "single.json"
        self.single_body.write_text(json.dumps({"body": BODY}), encoding="utf-8")
        self.processes = {
            **{name: psutil.Process(installation.pid(name)) for name in ROLES},
            "redis": psutil.Process(redis.process.pid if redis.process else 0),
            "mariadb": psutil.Process(database.process.pid if database.process else 0),
        }

    def port(self, role: str) -> int:
        """The TCP port of a role."""
        return int(self.it.url(role).rsplit(":", 1)[1])

    def processor_seconds(self) -> dict[str, float]:
        """Processor time of each process so far."""
        return {name: sum(process.cpu_times()[:2]) for name, process in self.processes.items()}

    def stored(self) -> int:
        """Distinct ids in the table."""
        connection = ceilings.connect(self.url)
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(DISTINCT id) FROM messages")
            count = int(cursor.fetchone()[0])
        connection.close()
        return count

    def wait_until_stored(self) -> float:
        """When the last call was acknowledged, which is after its commit."""
        with self.it.redis() as client:
            while any(int(value) for value in client.hvals("messagebroker:depth")):
                time.sleep(0.005)
        return time.time()

    def batches(self, messages: int, keys: str = "") -> dict[str, Any]:
        """Batches of 500 over four connections. Rates in messages a second, seconds per submit."""
        files = [str(self.client.cert), str(self.client.key), str(self.client.ca), str(self.batch_body)]
        load = [*files, "/api/v1/messages/batch", "4", str(messages // BATCH), *([keys] if keys else [])]
        command = [sys.executable, "-m", "bench.load", "127.0.0.1", str(self.port("proxy")), *load]
        before = self.processor_seconds()
        result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)
        end = self.wait_until_stored()
        after = self.processor_seconds()
        sent = messages // BATCH * BATCH
        if result["statuses"] != {"202": messages // BATCH} or self.stored() != sent:
            raise SystemExit(f"not everything was stored: {result['statuses']}, {self.stored()} of {sent}")
        times = sorted(result["seconds"])
        return {
            "accepted": sent / (result["ended"] - result["started"]),
            "stored": sent / (end - result["started"]),
            "p50": times[len(times) // 2],
            "p99": times[int(len(times) * 0.99)],
            "processor": {name: (after[name] - before[name]) / sent * 1e6 for name in after},
        }

    def ab(self, port: int, path: str, body: Path, requests: int, connections: int = 32) -> dict[str, float]:
        """ApacheBench: requests a second, p50 and p99 in seconds."""
        percentiles = self.folder / "percentiles.csv"
        command = [program("ab"), "-q", "-k", "-c", str(connections), "-n", str(requests), "-E", str(self.pem), "-p", str(body),
                   "-T", "application/json", "-e", str(percentiles), f"https://127.0.0.1:{port}{path}"]  # fmt: skip
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
        if "Non-2xx" in text or "Failed requests:        0" not in text:
            raise SystemExit(f"ab saw failures:\n{text}")
        with open(percentiles, encoding="ascii", newline="") as file:
            rows = {row[0]: float(row[1]) / 1000 for row in list(csv.reader(file))[1:]}
        seconds = float(text.split("Time taken for tests:")[1].split()[0])
        return {"rate": requests / seconds, "p50": rows["50"], "p99": rows["99"], "seconds": seconds}

    def singles(self, requests: int) -> dict[str, Any]:
        """Single submits on 32 connections, until the last is stored."""
        before = self.processor_seconds()
        started = time.time()
        answer = self.ab(self.port("proxy"), "/api/v1/messages", self.single_body, requests)
        answer["stored"] = requests / (self.wait_until_stored() - started)
        after = self.processor_seconds()
        if self.stored() != requests:
            raise SystemExit(f"{self.stored()} of {requests} single submits are stored")
        return {**answer, "processor": {name: (after[name] - before[name]) / requests * 1e6 for name in after}}


def one_round(bench: Bench, result: report.Report, messages: int, empty_ports: dict[str, int]) -> None:
    """Everything once, ceilings between the product's own turns."""
    ceilings.empty_table(bench.url)
    found = bench.batches(messages)
    result.add("batch_accepted", "batches of 500: accepted", "messages/s", found["accepted"])
    result.add("batch_stored", "batches of 500: end to end", "messages/s", found["stored"])
    result.add("batch_p50", "batches of 500: p50 of the 202", "ms", found["p50"] * 1000)
    result.add("batch_p99", "batches of 500: p99 of the 202", "ms", found["p99"] * 1000)
    for name, micros in found["processor"].items():
        result.processes.setdefault(name, {})["batch"] = micros

    columns, rows = ceilings.columns_and_rows(bench.url, messages)
    ceilings.empty_table(bench.url)
    result.add("executemany", "ceiling: executemany, one connection", "rows/s", ceilings.executemany(bench.url, columns, rows))
    halves = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    files = []
    for number, half in enumerate(halves):
        files.append(bench.folder / f"rows-{number}.sql")
        files[-1].write_bytes(b"\x00".join(ceilings.prepared_statements(columns, half)))
    ceilings.empty_table(bench.url)
    fastest = ceilings.two_connections(bench.url, (str(files[0]), str(files[1])), len(rows))
    result.add("fastest", "ceiling: ready statements, two connections", "rows/s", fastest)
    del rows, halves

    ceilings.empty_table(bench.url)
    found = bench.batches(messages, keys=f"round-{time.time()}")
    result.add("batch_keyed", "batches of 500 with Idempotency-Key: end to end", "messages/s", found["stored"])
    pushes = ceilings.redis_pushes(bench.redis.url, bytes(BATCH * 330), BATCH, messages // BATCH)
    result.add("redis", "ceiling: raw pipelined pushes into Redis", "messages/s", pushes)

    empty = bench.ab(empty_ports["bare"], "/", bench.single_body, 20_000)
    result.add("empty", "ceiling: empty POSTs, bare WSGI, 32 connections", "requests/s", empty["rate"])
    ceilings.empty_table(bench.url)
    found = bench.singles(12_000)
    result.add("single_accepted", "singles, 32 connections: accepted", "submits/s", found["rate"])
    result.add("single_stored", "singles, 32 connections: end to end", "submits/s", found["stored"])
    result.add("single_p50", "singles, 32 connections: p50 of the 202", "ms", found["p50"] * 1000)
    result.add("single_p99", "singles, 32 connections: p99 of the 202", "ms", found["p99"] * 1000)
    for name, micros in found["processor"].items():
        result.processes[name]["single"] = micros
    empty = bench.ab(empty_ports["falcon"], "/", bench.single_body, 20_000)
    result.add("falcon", "ceiling: empty POSTs, Falcon, 32 connections", "requests/s", empty["rate"])
    ceilings.empty_table(bench.url)
    idle = bench.ab(bench.port("proxy"), "/api/v1/messages", bench.single_body, 500, connections=1)
    result.add("idle_p50", "one idle connection: p50 of the 202", "ms", idle["p50"] * 1000)
    bench.wait_until_stored()


def main() -> None:
    """Starts everything, measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=100_000, help="a round, for batches")
    parser.add_argument("--out", type=Path, default=Path("docs/bench"), help="folder for the JSON and the plot")
    options = parser.parse_args()
    empty_ports = {"bare": free_port(), "falcon": free_port()}
    result = report.Report(machine=report.machine(), date=datetime.now(UTC).strftime("%Y-%m-%d"))
    with (
        tempfile.TemporaryDirectory() as name,
        Redis(maxmemory="2gb") as redis,
        MariaDB("--innodb-buffer-pool-size=1G") as database,
    ):
        folder = Path(name)
        with Installation(folder, redis_url=redis.url, database_url=database.url()) as installation:
            began = time.perf_counter()
            installation.start(*ROLES)
            result.add("start", "all roles ready after", "s", time.perf_counter() - began)
            bench = Bench(folder, installation, database, redis)
            empties = [
                subprocess.Popen(
                    [sys.executable, "-m", "bench.empty_server", str(installation.folder), str(port), kind],
                    stdin=subprocess.PIPE,
                )
                for kind, port in empty_ports.items()
            ]
            time.sleep(3)
            for role in ROLES:
                result.processes[role] = {"idle": bench.processes[role].memory_info().rss / 1e6}
            bench.batches(BATCH * 20)  # warm
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
                one_round(bench, result, options.messages, empty_ports)
            for role, process in bench.processes.items():
                result.processes[role]["peak"] = peak_memory(process)
            for empty in empties:
                assert empty.stdin
                empty.stdin.close()
                empty.wait(20)
    ratios = [
        ("batches end to end / executemany on one connection", result.ratio("batch_stored", "executemany"), 0.7),
        ("singles end to end / empty POSTs, Falcon", result.ratio("single_stored", "falcon"), 0.5),
        ("singles end to end / empty POSTs, bare WSGI", result.ratio("single_stored", "empty"), 0.5),
    ]
    report.show(result, ratios)
    data, picture = report.write(result, ratios, options.out)
    print(f"written: {data} and {picture}")


def peak_memory(process: psutil.Process) -> float:
    """The largest resident size so far in MB, where the system keeps it."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return process.memory_info().rss / 1e6


if __name__ == "__main__":
    main()
