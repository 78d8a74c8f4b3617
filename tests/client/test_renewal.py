"""A sender renews its certificate: the key never leaves it, and whatever goes wrong it keeps a pair that works."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from support.certs import Authority
from support.requests import signing_request
from support.scripted import DROP, Answer, Asked, Scripted, problem

from messagebroker.client import MessageBroker, Problem, Retry, SetupError
from messagebroker.client.renewal import finish, is_due
from messagebroker.ops import csr, pki

PATH = "/api/v1/certificates/renew"
WHO = Answer(200, {"client_id": "mine"})


class Signer:
    """A proxy's answer to a renewal, from the CA in a folder."""

    def __init__(self, authority: Authority) -> None:
        self.ca = pki.Pair(pki.load_certificate(authority.crt.read_bytes()), authority.key)
        self.name = "mine"
        self.key: Any = None  # instead of the one that was asked for
        self.days = 365

    def __call__(self, asked: Asked) -> Answer:
        key = self.key or csr.public_key_of(asked.json["csr"].encode())
        made = pki.make_certificate(self.ca, "client", self.name, key, days=self.days)
        document = {
            "serial": f"{made.serial_number:x}", "name": self.name, "not_before": made.not_valid_before_utc.isoformat(),
            "not_after": made.not_valid_after_utc.isoformat(), "certificate": pki.certificate_pem(made).decode(), "ca": "x",
        }  # fmt: skip
        return Answer(201, document)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.component("proxy")
    made.client("mine")
    return made


@pytest.fixture
def files(authority: Authority) -> dict[str, Path]:
    return {"cert": authority.folder / "mine.crt", "key": authority.folder / "mine.key", "ca": authority.crt}


def contents(files: dict[str, Path]) -> tuple[bytes, bytes]:
    return files["cert"].read_bytes(), files["key"].read_bytes()


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def test_the_new_pair_is_used_at_once_and_only_a_request_left(
    authority: Authority, files: dict[str, Path], connect: Any
) -> None:
    old = contents(files)
    files["key"].chmod(0o640)
    with Scripted(authority.folder, WHO, Signer(authority), WHO) as proxy:
        broker = connect(proxy.url, **files)
        broker.whoami()
        issued = broker.renew_certificate()
        broker.whoami()
    assert [asked.path for asked in proxy.asked] == ["/api/v1/whoami", PATH, "/api/v1/whoami"]
    assert b"PRIVATE" not in proxy.asked[1].body
    assert list(proxy.asked[1].json) == ["csr"]
    new = contents(files)
    assert new[0] != old[0]
    assert new[1] != old[1]
    assert new[0].decode() == issued.certificate
    pki.Pair.parse(*new)
    assert sorted(path.name for path in authority.folder.glob(".*")) == [], "nothing is left behind"
    if os.name == "posix":
        assert files["key"].stat().st_mode & 0o777 == 0o640, "who could read the key still can, and nobody else"


def test_an_rsa_pair_is_replaced_in_the_context_too(authority: Authority, files: dict[str, Path]) -> None:
    """A context that was changed in place would hold both, and could show the old one."""
    signer = Signer(authority)
    key = rsa.generate_private_key(65537, 2048)
    made = pki.make_certificate(signer.ca, "client", "mine", csr.public_key_of(signing_request(key)))
    files["cert"].write_bytes(pki.certificate_pem(made))
    files["key"].write_bytes(pki.key_pem(key))  # type: ignore[arg-type]
    with Scripted(authority.folder, signer, WHO) as proxy, MessageBroker(proxy.url, **files) as broker:
        before = broker.identity.context
        broker.renew_certificate()
        assert broker.identity.context is not before
        broker.whoami()
    assert serial(files["cert"]) != made.serial_number


def test_only_when_two_thirds_of_its_life_are_over(authority: Authority, files: dict[str, Path], connect: Any) -> None:
    signer = Signer(authority)
    now = datetime.now(UTC)
    with Scripted(authority.folder, signer) as proxy:
        authority.client("mine", start=now - timedelta(days=59), days=90)
        assert not is_due(files["cert"])
        assert connect(proxy.url, **files).renew_certificate(only_when_due=True) is None
        assert proxy.asked == []
        authority.client("mine", start=now - timedelta(days=61), days=90)
        assert is_due(files["cert"])
        assert connect(proxy.url, **files).renew_certificate(only_when_due=True).serial == f"{serial(files['cert']):x}"


@pytest.mark.parametrize("attack", ["another name", "another key", "another CA", "ended", "noise"])
def test_what_is_not_its_certificate_is_not_stored(
    authority: Authority, files: dict[str, Path], connect: Any, tmp_path: Path, attack: str
) -> None:
    old = contents(files)
    signer = Signer(authority)
    if attack == "another name":
        signer.name = "other"
    elif attack == "another key":
        signer.key = pki.new_key().public_key()
    elif attack == "another CA":
        signer.ca = Signer(Authority(tmp_path / "other")).ca

    def answer(asked: Asked) -> Answer:
        made = signer(asked)
        if attack == "noise":
            made.document["certificate"] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        if attack == "ended":
            made.document["certificate"] = authority.expired("past").crt.read_text(encoding="ascii")
        return made

    with Scripted(authority.folder, answer, WHO) as proxy:
        broker = connect(proxy.url, **files)
        with pytest.raises(SetupError, match="what came as renewed certificate"):
            broker.renew_certificate()
        assert contents(files) == old
        assert broker.whoami() == {"client_id": "mine"}


def test_a_refusal_is_a_problem_and_a_lost_answer_is_asked_for_again_with_the_same_key(
    authority: Authority, files: dict[str, Path], connect: Any
) -> None:
    old = contents(files)
    with Scripted(authority.folder, problem(403, "renewal-refused")) as proxy:
        with pytest.raises(Problem) as caught:
            connect(proxy.url, **files).renew_certificate()
        assert caught.value.name == "renewal-refused"
    assert contents(files) == old
    with Scripted(authority.folder, DROP, Signer(authority)) as proxy:
        connect(proxy.url, **files, retry=Retry(first_pause=0.01)).renew_certificate()
    assert [asked.path for asked in proxy.asked] == [PATH, PATH]
    assert proxy.asked[0].body == proxy.asked[1].body


def test_without_a_certificate_there_is_nothing_to_renew(files: dict[str, Path], connect: Any) -> None:
    with pytest.raises(SetupError, match="give `cert` and `key`"):
        connect("https://localhost:1", ca=files["ca"], cert=None, key=None).renew_certificate()


@pytest.mark.parametrize("died", ["before the key", "before the certificate"])
def test_who_dies_in_between_finds_a_whole_pair(authority: Authority, files: dict[str, Path], died: str) -> None:
    old = contents(files)
    new = authority.client("mine", file="new")
    waiting = authority.folder / ".mine.crt.next-0011"
    waiting.write_bytes(new.crt.read_bytes())
    if died == "before the key":
        finish(files["cert"], files["key"])
        assert waiting.exists(), "another process may be about to replace the key"
        os.utime(waiting, (1, 1))
    else:
        files["key"].write_bytes(new.key.read_bytes())
    with Scripted(authority.folder, WHO) as proxy, MessageBroker(proxy.url, **files) as broker:
        assert broker.whoami() == {"client_id": "mine"}
    assert contents(files) == (old if died == "before the key" else (new.crt.read_bytes(), new.key.read_bytes()))
    assert not waiting.exists()


def test_a_folder_that_cannot_be_written_keeps_the_old_pair(
    authority: Authority, files: dict[str, Path], connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = contents(files)

    def refuse(*args: Any) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr("messagebroker.client.renewal._write", refuse)
    with Scripted(authority.folder, Signer(authority), WHO) as proxy:
        broker = connect(proxy.url, **files)
        with pytest.raises(SetupError, match="cannot be stored"):
            broker.renew_certificate()
        broker.whoami()
    assert contents(files) == old


def test_many_at_once_leave_one_pair_that_belongs_together(authority: Authority, files: dict[str, Path]) -> None:
    """Threads and processes that share the files, such as a cron job beside a service."""
    with Scripted(authority.folder, Signer(authority)) as proxy:
        brokers = [MessageBroker(proxy.url, **files) for _ in range(8)]
        troubles: list[Exception] = []

        def renew(broker: MessageBroker) -> None:
            for _ in range(3):
                try:
                    broker.renew_certificate()
                except SetupError as error:
                    troubles.append(error)

        threads = [threading.Thread(target=renew, args=(broker,)) for broker in brokers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for broker in brokers:
            broker.close()
    assert troubles == []
    for waiting in authority.folder.glob(".mine.crt.next-*"):
        os.utime(waiting, (1, 1))
    finish(files["cert"], files["key"])
    pki.Pair.parse(*contents(files))
