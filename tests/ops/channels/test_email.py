"""Deliveries by e-mail against a real SMTP server."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from support.mail import MailServer
from support.works import target, work

from messagebroker.ops import clock, keyring
from messagebroker.ops.channels import email as channel
from messagebroker.ops.channels import email_post
from messagebroker.ops.channels.channel import Outcome, Work
from messagebroker.ops.channels.email import Email
from messagebroker.ops.channels.email_config import EmailConfig
from messagebroker.ops.channels.email_ids import OTHERS, Named, Signer
from messagebroker.settings import Settings, load

pytestmark = [
    pytest.mark.clocked,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Requiring AUTH:UserWarning"),
]
ADA, BOB, EVE = "ada@example.org", "bob@example.org", "eve@example.org"
TO_ADA = EmailConfig(to=[ADA])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With the keys that sign Message-IDs."""
    keyring.create_master_key(load({}, data_dir=tmp_path, environment="test"))
    return tmp_path


async def delivered(settings: Settings, *calls: Sequence[Work]) -> list[list[Outcome]]:
    """One channel, one call after the other."""
    made = Email(settings)
    try:
        return [list(await made.deliver(works)) for works in calls]
    finally:
        await made.close()


def deliver(settings: Settings, *calls: Sequence[Work]) -> list[list[Outcome]]:
    return asyncio.run(delivered(settings, *calls))


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_a_message_arrives_as_text_and_html(home: Path, security: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "Grüße,\n.\n<b>bold</b> " + "x" * 2000
    given = work(target(EmailConfig(to=[ADA, BOB])), body)
    with MailServer(home, security, password="hunter2" if security != "none" else None) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
        login = {"smtp_user": "broker", "smtp_password": "hunter2"} if security != "none" else {}
        settings = server.settings(home, **login)
        [[outcome]] = deliver(settings, [given])
    assert (outcome.kind, outcome.code, outcome.error) == ("delivered", 250, None)
    [(sender, recipients, _)], [mail] = server.taken, server.messages
    assert (sender, recipients) == ("broker@example.org", [ADA, BOB])
    assert (mail["From"], mail["To"]) == ("Message Broker <broker@example.org>", f"{ADA}, {BOB}")
    assert mail["Subject"] == "orders.created (billing)"
    assert (mail["Auto-Submitted"], mail["List-Id"]) == ("auto-generated", "<subscription-7.example.org>")
    assert mail["Date"].endswith("+0000")
    assert abs((mail["Date"].datetime - clock.now()).total_seconds()) < 60
    assert Signer(settings).read(mail["Message-ID"], None) == Named((given.message_id,), 7)
    assert outcome.request["Message-ID"] == mail["Message-ID"]
    text, html = (mail.get_body((kind,)).get_content().replace("\r\n", "\n") for kind in ("plain", "html"))
    assert text.startswith(body + "\n")
    assert "2026-03-01 09:07:15 UTC" in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in html
    assert "<b>" not in html


def test_the_message_id_is_the_same_for_every_try(home: Path) -> None:
    given = work(target(TO_ADA))
    with MailServer(home) as server:
        deliver(server.settings(home), [given], [given])
    first, second = server.messages
    assert first["Message-ID"] == second["Message-ID"]


def test_many_messages_over_one_connection(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email_post, "MAILS_PER_CONNECTION", 6)
    to = target(TO_ADA)
    with MailServer(home) as server:
        calls = deliver(server.settings(home), [work(to, f"number {n}") for n in range(5)], [work(to)], [work(to)])
    assert [outcome.kind for call in calls for outcome in call] == ["delivered"] * 7
    assert len(server.taken) == 7
    assert server.connections == 2


def test_a_digest_is_one_mail_with_all_of_them(home: Path) -> None:
    to = target(EmailConfig(to=[ADA], digest_minutes=15))
    works = [work(to, f"body <{n}>", topic=f"topic.{n}") for n in range(12)]
    with MailServer(home) as server:
        settings = server.settings(home)
        [outcomes] = deliver(settings, works)
    [mail] = server.messages
    assert [outcome.kind for outcome in outcomes] == ["delivered"] * 12
    assert mail["Subject"] == "12 messages (billing)"
    for n in range(12):
        assert f"body <{n}>" in mail.get_body(("plain",)).get_content()
        assert f"body &lt;{n}&gt;" in mail.get_body(("html",)).get_content()
    named = Named(tuple(one.message_id for one in works), 7)
    assert Signer(settings).read(mail["Message-ID"], mail[OTHERS]) == named


def test_templates_of_ones_own(home: Path) -> None:
    config = EmailConfig(
        to=[ADA],
        subject="{{ metadata.colour|upper }}\r\nBcc: eve@example.org {{ body }}",
        text="{{ topic }} {{ nothing.at.all }}|",
    )
    with MailServer(home) as server:
        [[outcome]] = deliver(server.settings(home), [work(target(config), "a\r\nX-Evil: yes\x00\u2028\u202e" + "é" * 300)])
    [(_, recipients, content)], [mail] = server.taken, server.messages
    assert recipients == [ADA]
    assert (mail["Bcc"], mail["X-Evil"]) == (None, None)
    assert mail["Subject"].startswith("RED Bcc: eve@example.org a X-Evil: yes ééé")
    assert len(mail["Subject"]) == 200
    assert set(outcome.request) == {"Message-ID", "To"}, "what is kept is not sealed"
    assert mail.get_content_type() == "text/plain", "no HTML of ours beside a text of theirs"
    assert mail.get_content().rstrip() == "orders.created |"
    assert content.isascii()


def test_a_template_that_fails_is_no_reason_to_try_again(home: Path) -> None:
    config = EmailConfig(to=[ADA], text="{% if 1 < body %}x{% endif %}")
    with MailServer(home) as server:
        [[outcome]] = deliver(server.settings(home), [work(target(config))])
    assert (outcome.kind, server.taken) == ("failed", [])
    assert "template" in str(outcome.error)


def test_large_and_binary_bodies_say_what_is_missing(home: Path) -> None:
    to = target(TO_ADA)
    with MailServer(home) as server:
        deliver(
            server.settings(home),
            [work(to, "x" * 300_000), work(to, b"\x00\x01", content_type="image/png"), work(to, "bell\x07")],
        )
    large, binary, bell = (mail.get_body(("plain",)).get_content() for mail in server.messages)
    assert "cut off here: 300000 characters" in large
    assert "2 bytes that are no text (image/png)" in binary
    assert "bell\N{REPLACEMENT CHARACTER}" in bell


@pytest.mark.parametrize(
    ("answer", "kind", "code"), [("451 later", "retry", 451), ("554 never", "failed", 554), ("552 too large", "failed", 552)]
)
def test_what_the_server_says_of_the_content(home: Path, answer: str, kind: str, code: int) -> None:
    to = target(TO_ADA)
    with MailServer(home) as server:
        server.refuse = answer
        [outcomes] = deliver(server.settings(home), [work(to), work(to)])
    assert [(outcome.kind, outcome.code) for outcome in outcomes] == [(kind, code)] * 2
    assert answer[4:] in str(outcomes[0].error)


def test_some_recipients_refused_for_ever(home: Path) -> None:
    to = target(EmailConfig(to=[ADA, EVE, BOB]))
    with MailServer(home) as server:
        server.refused[EVE] = "550 no such user"
        [[outcome]] = deliver(server.settings(home), [work(to)])
    assert [recipients for _, recipients, _ in server.taken] == [[ADA, BOB]]
    assert (outcome.kind, outcome.code, outcome.reached) == ("failed", 550, True)
    assert f"refuses {EVE}: 550 no such user; the others have it" in str(outcome.error)
    assert outcome.answer == f"{EVE}: 550 no such user".encode()


def test_who_is_refused_for_now_holds_back_the_others_only_for_a_while(home: Path) -> None:
    to = target(EmailConfig(to=[ADA, EVE]))
    with MailServer(home) as server:
        server.refused[EVE] = "450 greylisted"
        settings = server.settings(home)
        [[early], [late]] = deliver(settings, [work(to)], [work(to, attempt=channel.PATIENT_ATTEMPTS)])
    assert (early.kind, early.code) == ("retry", 450)
    assert (late.kind, late.code) == ("failed", 450)
    assert [recipients for _, recipients, _ in server.taken] == [[ADA]], "once, after patience ended"


def test_all_recipients_refused(home: Path) -> None:
    with MailServer(home) as server:
        server.refused[ADA] = "550 no such user"
        [[refused]] = deliver(server.settings(home), [work(target(TO_ADA))])
        server.refused[ADA] = "450 greylisted"
        [[later]] = deliver(server.settings(home), [work(target(TO_ADA), attempt=9)])
    assert (refused.kind, later.kind, server.taken) == ("failed", "retry", [])


def test_what_is_wrong_with_the_installation_may_be_put_right(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [work(target(TO_ADA))]
    with MailServer(home, "starttls", password="hunter2") as server:
        right = {"smtp_user": "broker", "smtp_password": "hunter2"}
        [[untrusted]] = deliver(server.settings(home, **right), given)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
        [[wrong]] = deliver(server.settings(home, smtp_user="broker", smtp_password="hunter3"), given)
    with MailServer(home) as plain:
        [[no_tls]] = deliver(plain.settings(home, smtp_security="starttls"), given)
    [[no_host]] = deliver(load({}, data_dir=home, environment="test"), given)
    [[nobody]] = deliver(load({}, data_dir=home, environment="test", smtp_host="localhost", smtp_port=1), given)
    assert {outcome.kind for outcome in (untrusted, wrong, no_tls, no_host, nobody)} == {"retry"}
    assert "does not verify" in str(untrusted.error)
    assert "SMTP_PASSWORD" in str(wrong.error)
    assert "hunter3" not in str(wrong)
    assert "SMTP_HOST" in str(no_host.error)
    assert server.taken == plain.taken == []


Conversation = Callable[[socket.socket], None]


@contextmanager
def scripted(*conversations: Conversation) -> Iterator[int]:
    """A server of one's own: the port; each conversation gets one connection, in order."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for conversation in conversations:
                connection, _ = listener.accept()
                with connection:
                    conversation(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]


def talk(connection: socket.socket, *answers: str) -> None:
    """A greeting, then one answer a command."""
    connection.sendall(b"220 here\r\n")
    with connection.makefile("rb") as lines:
        for answer in answers:
            lines.readline()
            connection.sendall(answer.encode() + b"\r\n")
        lines.readline()


ALL_BUT_CONTENT = ("250 here", "250 sender", "250 recipient", "354 go on")


def local(home: Path, port: int, **more: Any) -> Settings:
    given = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none", "mail_from": "b@example.org", **more}
    return load({}, data_dir=home, environment="test", **given)


@pytest.mark.parametrize("steps", range(5))
def test_a_server_that_goes_away_mid_way(home: Path, steps: int) -> None:
    to = target(TO_ADA)

    def leaves(connection: socket.socket) -> None:
        talk(connection, *ALL_BUT_CONTENT[:steps])

    with scripted(leaves) as port:
        [outcomes] = deliver(local(home, port), [work(to), work(to)])
    assert [outcome.kind for outcome in outcomes] == ["retry", "retry"], "the second was not even tried: there is no server"
    assert f"127.0.0.1:{port}" in str(outcomes[0].error)


def test_a_kept_connection_that_ended_meanwhile_is_made_again(home: Path) -> None:
    took = [*ALL_BUT_CONTENT]

    def takes_one(connection: socket.socket) -> None:
        connection.sendall(b"220 here\r\n")
        with connection.makefile("rb") as lines:
            for answer in took:
                lines.readline()
                connection.sendall(answer.encode() + b"\r\n")
            while lines.readline() != b".\r\n":
                pass
            connection.sendall(b"250 taken\r\n")

    to = target(TO_ADA)
    with scripted(takes_one, takes_one) as port:
        [[first], [second]] = deliver(local(home, port), [work(to)], [work(to)])
    assert (first.kind, second.kind) == ("delivered", "delivered")


@pytest.mark.tier("processes")
@pytest.mark.parametrize("how", ["says nothing", "trickles"])
def test_a_server_that_hangs_is_left_in_time(home: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "CALL_SECONDS", 0.4)
    ended = threading.Event()

    def hangs(connection: socket.socket) -> None:
        if how == "trickles":
            while not ended.wait(0.02):
                try:
                    connection.sendall(b"2")
                except OSError:
                    return
        ended.wait(20)

    to = target(TO_ADA)
    with scripted(hangs) as port:
        began = time.monotonic()
        [outcomes] = deliver(local(home, port), [work(to), work(to)])
        took = time.monotonic() - began
        ended.set()
    assert [outcome.kind for outcome in outcomes] == ["retry", "retry"]
    assert took < 5


def test_what_our_own_message_looks_like_when_it_is_read_back(home: Path) -> None:
    """Long headers are folded, and stay what they are."""
    to = target(EmailConfig(to=[f"person.number.{n}@a-rather-long-domain.example.org" for n in range(50)], digest_minutes=1))
    works = [work(to) for _ in range(50)]
    with MailServer(home) as server:
        settings = server.settings(home)
        deliver(settings, works)
    [(_, recipients, content)] = server.taken
    assert len(recipients) == 50
    assert max(len(line) for line in content.split(b"\r\n")) <= 100
    mail: Any = message_from_bytes(content, policy=default)
    assert len(mail["To"].addresses) == 50
    assert Signer(settings).read(mail["Message-ID"], mail[OTHERS]) is not None
