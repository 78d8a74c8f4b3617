"""A sender of `bench.delivery`: single messages at a steady rate, each with the time it was sent at.

    python -m bench.steady HOST PORT CERT KEY CA RATE SECONDS PRIORITY TOPIC…

Prints one JSON line: how many were sent, and which answers came. It sends by the clock, whatever the answers take: a
message that waits for its turn here counts as sent when its turn was.
"""

from __future__ import annotations

import collections
import json
import queue
import ssl
import sys
import threading
import time

from bench.load import Connection, head

CONNECTIONS = 8


def drive(
    host: str, port: int, files: tuple[str, str, str], rate: float, seconds: float, priority: str, topics: list[str]
) -> dict[str, object]:
    """Sends `rate` messages a second for `seconds`, to the topics in turn."""
    certificate, key, ca = files
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    turns: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
    statuses: collections.Counter[int] = collections.Counter()

    def work(connection: Connection) -> None:
        while (turn := turns.get()) is not None:
            sent, topic = turn
            body = json.dumps({"topic": topic, "body": f"sent:{sent}.", "priority": priority}).encode()
            statuses[connection.post(head("/api/v1/messages", len(body), "application/json", None) + body)] += 1

    opened = [Connection(host, port, context) for _ in range(CONNECTIONS)]
    threads = [threading.Thread(target=work, args=(connection,)) for connection in opened]
    for thread in threads:
        thread.start()
    began = time.time_ns()
    number = int(rate * seconds)
    for turn in range(number):
        at = began + int(turn / rate * 1e9)
        pause = (at - time.time_ns()) / 1e9
        if pause > 0:
            time.sleep(pause)
        turns.put((at, topics[turn % len(topics)]))
    for _ in threads:
        turns.put(None)
    for thread in threads:
        thread.join()
    return {"sent": number, "statuses": dict(statuses), "began": began / 1e9, "ended": time.time()}


if __name__ == "__main__":
    host, port, certificate, key, ca, rate, seconds, priority, *topics = sys.argv[1:]
    print(json.dumps(drive(host, int(port), (certificate, key, ca), float(rate), float(seconds), priority, topics)))
