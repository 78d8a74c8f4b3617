"""A master key that changes under real roles while senders submit, and an audit log that proves it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.installation import Installation
from support.servers import Redis

pytestmark = [pytest.mark.tier("processes"), pytest.mark.timeout(120)]


def call(installation: Installation, *words: str) -> Any:
    command = [sys.executable, "-m", "messagebroker", *words, "--json"]
    environment = installation.environment("main")
    done = subprocess.run(
        command, env=environment, cwd=installation.settings.data_dir, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def test_senders_notice_nothing_of_a_rotation_and_every_message_is_read_back(tmp_path: Path) -> None:
    stop, sent, trouble = threading.Event(), {}, []
    # all that was sent is read back at once, and the longer a rotation takes, the more that is
    reads = {"api_rate_per_client": 10_000}
    with Redis() as redis, Installation(tmp_path, redis_url=redis.url, **reads) as it:
        it.start("main", "proxy", "worker")
        url = it.url("proxy") + "/api/v1/messages"
        with it.http(it.client("acme")) as http:

            def submit() -> None:
                try:
                    while not stop.is_set():
                        body = f"message {len(sent)}"
                        answer = http.post(url, json={"body": body})
                        assert answer.status_code == 202, answer.text
                        sent[answer.json()["message_id"]] = body
                        stop.wait(0.02)
                except Exception as error:  # noqa: BLE001
                    trouble.append(error)

            sender = threading.Thread(target=submit)
            sender.start()
            try:
                rotations = [call(it, "keys", "rotate") for _ in range(2)]
            finally:
                stop.set()
                sender.join()
            assert not trouble
            it.wait_until_drained()
            it.client("later")  # the proxy has the newest policy now
            last = http.post(url, json={"body": "the last"}).json()["message_id"]
            it.wait_until_drained()
            assert call(it, "keys", "rotate", "--resume")["remaining"] == 0
            states = call(it, "keys", "status")["keys"]
            assert [key["id"] for key in states][:2] == [rotations[1]["current"], rotations[0]["current"]]
            assert [key["data_keys"] > 0 for key in states] == [True, False, False]
            found = call(it, "keys", "verify")
            assert (found["needs"], len(found["free"])) == ([], 2)
            assert len(sent) > 20
            for message_id, body in [*sent.items(), (last, "the last")]:
                answer = http.get(f"{url}/{message_id}")
                assert (answer.status_code, answer.json().get("body")) == (200, body), answer.text
        report = call(it, "audit", "verify")
        assert report["good"]
        assert report["proven"]["rows"] >= 5
