"""E-mail against a real SMTP server."""

from __future__ import annotations

import gc
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.mail import MailServer

from messagebroker.errors import ConfigurationError, Refused, Unavailable
from messagebroker.ops import mail
from messagebroker.settings import load

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Requiring AUTH:UserWarning")
TO, SUBJECT, TEXT = "ada@example.org", "Grüße", "Guten Tag,\n.\nkeep the line above: ä\n"


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_a_message_arrives_as_it_was(tmp_path: Path, security: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with MailServer(tmp_path, security) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
        mail.send(server.settings(tmp_path), TO, SUBJECT, TEXT)
    [(sender, recipients, _)], [message] = server.taken, server.messages
    assert (sender, recipients) == ("broker@example.org", [TO])
    assert (message["From"], message["To"], message["Subject"]) == ("Message Broker <broker@example.org>", TO, SUBJECT)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.tzinfo is not None
    assert message["Message-ID"].endswith("@example.org>")
    assert message.get_content().replace("\r\n", "\n") == TEXT


def test_a_password_is_shown_only_over_tls_that_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MailServer(tmp_path, "starttls", password="hunter2") as server:
        settings = server.settings(tmp_path, smtp_user="broker", smtp_password="hunter2")
        with pytest.raises(ConfigurationError, match="does not verify"):
            mail.send(settings, TO, SUBJECT, TEXT)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
        mail.send(settings, TO, SUBJECT, TEXT)
        wrong = server.settings(tmp_path, smtp_user="broker", smtp_password="hunter3")
        with pytest.raises(ConfigurationError, match="SMTP_PASSWORD") as refused:
            mail.send(wrong, TO, SUBJECT, TEXT)
        assert "hunter3" not in str(refused.value)
    assert len(server.taken) == 1


def test_without_tls_on_the_other_side_nothing_is_sent_in_plain_text(tmp_path: Path) -> None:
    with MailServer(tmp_path) as server, pytest.raises(ConfigurationError, match="SMTP_SECURITY"):
        mail.send(server.settings(tmp_path, smtp_security="starttls"), TO, SUBJECT, TEXT)
    assert server.taken == []


@pytest.mark.parametrize(
    "to",
    ["ada@example.org\r\nBcc: eve@example.org", "ada@example.org\nX: y", "ada@example.org, eve@example.org",
     "ada@example.org\x00", "", "ada", "eve@example.org>,<ada@example.org", "ada@exämple.org"],
)  # fmt: skip
def test_an_address_that_would_write_headers_is_refused(tmp_path: Path, to: str) -> None:
    with MailServer(tmp_path) as server, pytest.raises(Refused):
        mail.send(server.settings(tmp_path), to, SUBJECT, TEXT)
    assert server.taken == []


@pytest.mark.parametrize("subject", ["a\r\nBcc: eve@example.org", "a\nb", "a\x00", "x" * 201, "\u2028"])
def test_a_subject_that_would_write_headers_is_refused(tmp_path: Path, subject: str) -> None:
    with MailServer(tmp_path) as server, pytest.raises(Refused):
        mail.send(server.settings(tmp_path), TO, subject, TEXT)
    assert server.taken == []


def test_what_looks_like_headers_in_the_text_stays_text(tmp_path: Path) -> None:
    with MailServer(tmp_path) as server:
        mail.send(server.settings(tmp_path), TO, SUBJECT, "\r\n.\r\nMAIL FROM:<eve@example.org>\r\nBcc: eve@example.org")
    [message] = server.messages
    assert message["Bcc"] is None
    assert len(server.taken) == 1


@pytest.mark.parametrize(("said", "kind"), [("451 later", Unavailable), ("554 never", Refused)])
def test_what_the_server_says_is_told(tmp_path: Path, said: str, kind: type[Exception]) -> None:
    with MailServer(tmp_path) as server:
        server.refuse = said
        with pytest.raises(kind, match=said[:3]):
            mail.send(server.settings(tmp_path), TO, SUBJECT, TEXT)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    given: dict[str, Any] = {"data_dir": tmp_path, "environment": "test"}
    with pytest.raises(Unavailable, match=r"localhost:1 .*SMTP_HOST"):
        mail.send(load({}, smtp_host="localhost", smtp_port=1, **given), TO, SUBJECT, TEXT)
    with pytest.raises(ConfigurationError, match="SMTP_HOST"):
        mail.send(load({}, **given), TO, SUBJECT, TEXT)


def test_the_server_of_these_tests_leaves_no_connection_to_the_garbage(tmp_path: Path) -> None:
    """Neither one that it can end, nor one in the middle of TLS, which has to go by itself: what is collected is told, as a
    failure, in whichever test is next."""
    for security in ("none", "tls"):
        with MailServer(tmp_path, security) as server:
            caller = socket.create_connection(("localhost", server.port))
            deadline = time.monotonic() + 10
            while server.callers < 1:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            if security == "tls":
                threading.Timer(0.2, caller.close).start()
        caller.close()
    gc.collect()
