from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from support.certs import Authority
from support.scripted import Answer, Scripted

from messagebroker.client import MessageBroker, SetupError
from messagebroker.client.tls import Identity


def test_a_missing_file_says_which_and_what_to_do(certs: Path) -> None:
    with pytest.raises(SetupError, match=r"absent\.crt.*messagebroker certs issue"):
        Identity(ca=certs / "ca.crt", cert=certs / "absent.crt", key=certs / "till-7.key")
    with pytest.raises(SetupError, match=r"absent\.crt"):
        Identity(ca=certs / "absent.crt")


def test_a_key_of_another_certificate_is_refused(certs: Path) -> None:
    with pytest.raises(SetupError, match=r"till-7\.crt .*belongs to another"):
        Identity(ca=certs / "ca.crt", cert=certs / "till-7.crt", key=certs / "main.key")


def test_half_a_pair_is_refused(certs: Path) -> None:
    with pytest.raises(SetupError, match="both"):
        Identity(ca=certs / "ca.crt", cert=certs / "till-7.crt")


def test_old_tls_is_refused_and_names_are_checked(certs: Path) -> None:
    context = Identity(ca=certs / "ca.crt").context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_renewed_files_are_used_for_the_next_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    authority.component("proxy")
    authority.client("before", file="mine")
    monkeypatch.setattr("messagebroker.client.tls.CHECK_SECONDS", 0.0)
    close = {"Connection": "close"}
    with Scripted(tmp_path, Answer(200, {}, close)) as proxy:
        files = {"cert": tmp_path / "mine.crt", "key": tmp_path / "mine.key", "ca": tmp_path / "ca.crt"}
        with MessageBroker(proxy.url, **files) as broker:
            broker.whoami()
            authority.client("after", file="mine")
            later = files["cert"].stat().st_mtime + 5
            for file in (files["cert"], files["key"]):
                os.utime(file, (later, later))
            broker.whoami()
            files["key"].write_text("half written", encoding="utf-8")
            broker.whoami()  # goes on with what it has
    assert [asked.peer for asked in proxy.asked] == [f"urn:messagebroker:client:{n}" for n in ("before", "after", "after")]
