"""Senders that keep books, and the books of the database, so that the two can be compared."""

from __future__ import annotations

import collections
import itertools
import random
import threading
import time
import uuid

import httpx
from support.installation import ClientFiles, Installation

from messagebroker.db.connection import connected, open_database
from messagebroker.db.models import DataKey, Message
from messagebroker.ops.keyring import KeyRing
from messagebroker.ops.records import SealedKey, decode_payload


class Sender:
    """Submits singles and small batches until `stop`.

    A patient sender repeats with the same Idempotency-Key until it gets an answer; an impatient one leaves in doubt what
    was not answered, and goes on (so that there is traffic while a killed proxy's claims on keys keep the patient waiting).
    """

    def __init__(self, installation: Installation, files: ClientFiles, number: int, *, patient: bool) -> None:
        self.patient = patient
        self.installation = installation
        self.files = files
        self.number = number
        self.stop = threading.Event()
        self.sent: set[str] = set()
        self.accepted: set[str] = set()
        self.refusals: collections.Counter[str] = collections.Counter()

    def wait_until_known(self) -> None:
        """A new client is known to a proxy within a second."""
        with self._connect() as http:
            deadline = time.monotonic() + 5
            while http.get(self.installation.url("proxy") + "/api/v1/whoami").status_code != 200:
                assert time.monotonic() < deadline, "the proxy does not know a new client after 5 s"
                time.sleep(0.05)

    def run(self) -> None:
        http = self._connect()
        for count in itertools.count():
            if self.stop.is_set():
                break
            size = random.choice((1, 1, 1, 5, 20))
            markers = [f"{self.number}/{count}/{item}" for item in range(size)]
            self.sent.update(markers)
            if not self._submit(http, markers):
                http.close()
                http = self._connect()
        http.close()

    def _connect(self) -> httpx.Client:
        return self.installation.http(self.files, timeout=5.0)

    def _submit(self, http: httpx.Client, markers: list[str]) -> bool:
        """Tries for at most 40 s; what is not answered by then stays in doubt (neither accepted nor refused)."""
        key = str(uuid.uuid4())
        if len(markers) == 1:
            path, document = "/api/v1/messages", {"body": markers[0]}
        else:
            path, document = "/api/v1/messages/batch", {"messages": [{"body": marker} for marker in markers]}
        deadline = time.monotonic() + 40
        whole = True
        while whole or (self.patient and time.monotonic() < deadline):
            try:
                answer = http.post(self.installation.url("proxy") + path, json=document, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                self.refusals["network"] += 1
                whole = False
                time.sleep(0.05)
                continue
            if answer.status_code == 202:
                self.accepted.update(markers)
                return whole
            self.refusals[str(answer.status_code)] += 1
            whole = False
            time.sleep(0.1)
        return False


def stored_markers(installation: Installation) -> collections.Counter[str]:
    """How often each body is in the database, decrypted row by row with the installation's own keys."""
    ring = KeyRing.load(installation.settings)
    open_database(installation.settings)
    with connected():
        keys = {
            bytes(row.id): ring.open_key(SealedKey(bytes(row.id), bytes(row.master_key_id), bytes(row.sealed), 0))
            for row in DataKey.select()
        }
        return collections.Counter(
            str(decode_payload(ring.open(bytes(row.id), row.client_id, bytes(row.payload), keys[bytes(row.data_key_id)])).body)
            for row in Message.select().iterator()
        )


def assert_exactly_once(senders: list[Sender], stored: collections.Counter[str]) -> None:
    """What was acknowledged is stored, nothing twice, and nothing that nobody sent."""
    accepted = {marker for sender in senders for marker in sender.accepted}
    sent = {marker for sender in senders for marker in sender.sent}
    lost = accepted - stored.keys()
    assert not lost, f"{len(lost)} acknowledged messages are not stored, such as {sorted(lost)[:5]}"
    twice = [marker for marker, count in stored.items() if count > 1]
    assert not twice, f"{len(twice)} messages are stored more than once, such as {twice[:5]}"
    assert not stored.keys() - sent, "something is stored that nobody sent"
