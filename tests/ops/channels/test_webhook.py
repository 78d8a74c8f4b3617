from __future__ import annotations

import errno
import json
import socket
import ssl
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from standardwebhooks import Webhook as Verifier
from support.certs import Authority
from support.receiver import (
    Receiver,
    bomb,
    close_after,
    cut_short,
    garbage,
    hang,
    huge,
    ok,
    receiver_context,
    redirect,
    reset,
    slow,
    status,
    trickle,
)
from support.webhooks import SECRET, SIGNING, Sender, work

from messagebroker.ops.channels import webhook_config, webhook_connections
from messagebroker.ops.channels.channel import ANSWER_BYTES
from messagebroker.ops.channels.webhook import _reason
from messagebroker.ops.channels.webhook_config import WebhookSecrets
from messagebroker.ops.channels.webhook_connections import MOST_IDLE_OF_ONE

pytestmark = pytest.mark.clocked


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def test_what_arrives_is_signed_and_whole() -> None:
    with Receiver() as receiver, Sender() as sender:
        outcome = sender.one(receiver.url + "?a=%7Eb", headers={"X-Plain": "seen"})
        [request] = receiver.wait_for(1)
    assert (outcome.kind, outcome.code, outcome.error) == ("delivered", 204, None)
    Verifier(SECRET).verify(request.body, request.headers)
    assert (request.method, request.path) == ("POST", "/hook?a=%7Eb")
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body)["topic"] == "orders.created"
    assert {name.lower(): value for name, value in outcome.request.items()}.items() <= request.headers.items()
    assert request.headers["x-plain"] == "seen"
    assert "accept-encoding" not in request.headers


def test_secret_headers_are_sent_and_not_kept() -> None:
    secrets = WebhookSecrets(signing=SIGNING, headers={"Authorization": "Bearer abc"})
    with Receiver() as receiver, Sender() as sender:
        outcome = sender.one(receiver.url, secrets=secrets)
        [request] = receiver.wait_for(1)
    assert request.headers["authorization"] == "Bearer abc"
    assert outcome.request["Authorization"] == "***"
    assert "abc" not in repr(outcome)


def test_connections_are_kept_and_those_that_the_receiver_ended_cost_nothing() -> None:
    with Receiver() as receiver, Sender() as sender:
        for _ in range(3):
            assert sender.one(receiver.url).kind == "delivered"
        assert receiver.connections == 1
        for connection in list(receiver.open):
            receiver._loop.call_soon_threadsafe(connection.transport.close)
        assert sender.one(receiver.url).kind == "delivered"
        receiver.play(close_after(ok()))
        assert {sender.one(receiver.url).kind for _ in range(5)} == {"delivered"}


def test_few_idle_connections_are_kept() -> None:
    with Receiver(slow(0.05)) as receiver, Sender() as sender:
        sender.send(*(work(receiver.url) for _ in range(3 * MOST_IDLE_OF_ONE)))
        sender.wait(0.02)
        assert receiver.connections == 3 * MOST_IDLE_OF_ONE
        assert len(receiver.open) <= MOST_IDLE_OF_ONE


def test_few_are_kept_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_config, "MOST_IDLE", 2)
    receivers = [Receiver() for _ in range(4)]
    with ExitStack() as stack, Sender() as sender:
        for receiver in receivers:
            stack.enter_context(receiver)
            assert sender.one(receiver.url).kind == "delivered"
        sender.wait(0.02)
        assert sum(len(receiver.open) for receiver in receivers) == 2


def test_no_proxy_of_the_environment_gets_to_see_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would resolve the name again, and go wherever that leads."""
    with Receiver() as proxy, Receiver() as receiver, Sender() as sender:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert sender.one(receiver.url).kind == "delivered"
    assert (len(proxy.requests), len(receiver.requests)) == (0, 1)


def test_a_kept_connection_is_for_the_name_that_its_certificate_was_good_for(authority: Authority) -> None:
    context = receiver_context(authority, "one.example")
    with Receiver(tls=context) as receiver, Sender(look_up=lambda name: ["127.0.0.1"]) as sender:
        found = [
            sender.one(f"https://{name}:{receiver.port}/", ca=authority.crt.read_text()).kind
            for name in ("one.example", "two.example", "one.example")
        ]
    assert found == ["delivered", "retry", "delivered"]


def test_connections_that_nobody_uses_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_connections, "IDLE_SECONDS", 0.1)
    with Receiver() as receiver, Sender() as sender:
        assert sender.one(receiver.url).kind == "delivered"
        assert len(receiver.open) == 1
        sender.wait(0.3)
        receiver.wait_for_silence()


@pytest.mark.parametrize(
    ("behaviour", "kind", "code", "words"),
    [
        (status(503, b"busy", retry_after="7"), "retry", 503, "the receiver answered 503 Service Unavailable"),
        (status(404), "failed", 404, "404 Not Found"),
        (status(410), "gone", 410, "410 Gone"),
        (redirect("http://169.254.169.254/latest"), "failed", 302, "to 169.254.169.254; redirects are not followed"),
        (garbage(), "retry", None, "is no HTTP"),
        (close_after(b""), "retry", None, "closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "retry", None, "is no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n", "retry", None, "is no HTTP"),
        (b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\n\r\n", "retry", None, "is no HTTP"),
    ],
)
def test_what_an_answer_does(behaviour: Any, kind: str, code: int | None, words: str) -> None:
    with Receiver(behaviour) as receiver, Sender() as sender:
        outcome = sender.one(receiver.url, timeout=5)
    assert (outcome.kind, outcome.code) == (kind, code)
    assert outcome.error is not None
    assert words in outcome.error
    assert len(outcome.error) <= 500
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"the body\r\n\r\n",
        b"HTTP/1.1 the body\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nthe body\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: the body\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: the body\r\n\r\n",
        b"HTTP/1.1 599 the body\r\nContent-Length: 8\r\n\r\nthe body",
    ],
)
def test_an_error_does_not_cite_a_receiver_that_sends_back_what_it_got(answer: bytes) -> None:
    """Errors are kept as they are, and the message is sealed."""
    with Receiver(answer) as receiver, Sender() as sender:
        outcome = sender.one(receiver.url)
    assert outcome.kind == "retry"
    assert outcome.error is not None
    assert "the body" not in outcome.error


def test_a_reset_is_told() -> None:
    with Receiver(reset()) as receiver, Sender() as sender:
        outcome = sender.one(receiver.url, timeout=5)
    assert (outcome.kind, outcome.error) == ("retry", f"the connection to 127.0.0.1:{receiver.port} broke: reset")


def overlapped(kind: type[OSError], winerror: int) -> OSError:
    """As Windows' event loop raises it, with the text of a German one."""
    error = type("Overlapped", (kind,), {})(errno.EINVAL, "Zielcomputer antwortet nicht")
    error.winerror = winerror
    found: OSError = error
    return found


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (overlapped(ConnectionRefusedError, 1225), "refused"),
        (overlapped(ConnectionResetError, 64), "reset"),
        (overlapped(ConnectionAbortedError, 1236), "reset"),
        (overlapped(OSError, 1231), "no route"),
        (overlapped(OSError, 1232), "no route"),
        (overlapped(OSError, 121), "no answer"),
        (overlapped(OSError, 87), "Zielcomputer antwortet nicht"),
    ],
)
def test_windows_says_the_same_in_every_language(problem: OSError, words: str) -> None:
    assert _reason(problem) == words
    wrapped = aiohttp.ClientOSError(*problem.args)
    wrapped.__cause__ = problem
    assert _reason(wrapped) == words


def test_of_an_endless_answer_the_beginning_is_read_and_the_connection_ended() -> None:
    with Receiver(huge()) as receiver, Sender() as sender:
        began = time.monotonic()
        outcome = sender.one(receiver.url)
        assert time.monotonic() - began < 2
        assert (outcome.kind, outcome.answer) == ("delivered", b"x" * ANSWER_BYTES)
        sender.wait(0.01)
        receiver.wait_for_silence()


def test_a_packed_answer_is_not_unpacked() -> None:
    with Receiver(bomb(1 << 20)) as receiver, Sender() as sender:
        outcome = sender.one(receiver.url)
    assert outcome.kind == "delivered"
    assert outcome.answer.startswith(b"\x1f\x8b")
    assert len(outcome.answer) <= ANSWER_BYTES


def test_the_status_decides_whatever_becomes_of_the_rest() -> None:
    with Receiver(cut_short()) as receiver, Sender() as sender:
        outcome = sender.one(receiver.url)
    assert (outcome.kind, outcome.answer) == ("delivered", b"short")


def test_retry_after_is_passed_on() -> None:
    with Receiver(status(429, retry_after="7")) as receiver, Sender() as sender:
        assert sender.one(receiver.url).retry_after == 7


def test_nobody_listens() -> None:
    with Receiver() as receiver:
        url = receiver.url
    with Sender() as sender:
        outcome = sender.one(url)
    assert outcome.kind == "retry"
    assert outcome.error == f"no connection to 127.0.0.1:{receiver.port}: refused"


def test_https_by_the_webhooks_own_authority(authority: Authority) -> None:
    ca = authority.crt.read_text()
    with Receiver(tls=receiver_context(authority)) as receiver, Sender(look_up=lambda host: ["127.0.0.1"]) as sender:
        assert sender.one(receiver.url, ca=ca).kind == "delivered"
        unknown = sender.one(receiver.url)
        other_name = sender.one(receiver.url.replace("localhost", "shop.example"), ca=ca)
        assert len(receiver.requests) == 1
    assert (unknown.kind, other_name.kind) == ("retry", "retry")
    assert f"the certificate of localhost:{receiver.port} does not verify: " in str(unknown.error)
    assert "Hostname mismatch" in str(other_name.error)


def test_the_certificate_is_checked_for_the_name_and_the_connection_goes_to_the_address(authority: Authority) -> None:
    context = receiver_context(authority, "shop.example")
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with Receiver(tls=context) as receiver, Sender(look_up=lambda host: ["127.0.0.1"]) as sender:
        url = receiver.url.replace("localhost", "Shop.Example.")
        assert sender.one(url, ca=authority.crt.read_text()).kind == "delivered"
        [request] = receiver.wait_for(1)
    assert names == ["shop.example"]
    assert request.headers["host"] == f"shop.example.:{receiver.port}"


def test_a_client_certificate_is_shown_and_its_key_leaves_no_file(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawer = tmp_path / "drawer"
    drawer.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(drawer))
    issued = authority.client("broker")
    secrets = WebhookSecrets(signing=SIGNING, client_certificate=issued.crt.read_text(), client_key=issued.key.read_text())
    context = receiver_context(authority, asks_for_certificate=True)
    with Receiver(tls=context) as receiver, Sender() as sender:
        ca = authority.crt.read_text()
        assert sender.one(receiver.url, ca=ca, secrets=secrets).kind == "delivered"
        without = sender.one(receiver.url, ca=ca)
        [request] = receiver.wait_for(1)
    assert request.certificate is not None
    assert "broker" in str(request.certificate["subject"])
    assert without.kind == "retry"
    assert list(drawer.iterdir()) == []


def test_contexts_are_made_once(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    real = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda **given: made.append(given) or real(**given))
    with Receiver(tls=receiver_context(authority)) as receiver, Sender() as sender:
        for _ in range(3):
            sender.send(*(work(receiver.url, ca=authority.crt.read_text()) for _ in range(2)))
        assert len(receiver.requests) == 6
    assert len(made) == 1


def test_a_receiver_of_plain_text_behind_https_is_told_from_a_dead_one() -> None:
    with Receiver(garbage()) as receiver, Sender(look_up=lambda host: ["127.0.0.1"]) as sender:
        outcome = sender.one(receiver.url.replace("http://", "https://").replace("127.0.0.1", "localhost"), timeout=0.5)
    assert outcome.kind == "retry"
    assert "no answer from localhost" in str(outcome.error)
    assert "connecting to " in str(outcome.error)


def test_another_address_is_tried_when_the_first_does_not_answer() -> None:
    with Receiver() as receiver, Sender(look_up=lambda host: ["127.0.0.9", "127.0.0.1"]) as sender:
        assert sender.one(receiver.url.replace("127.0.0.1", "shop.example")).kind == "delivered"
        assert sender.one(receiver.url.replace("127.0.0.1", "shop.example")).kind == "delivered"
        assert receiver.connections == 1


def test_the_address_that_answered_is_asked_first_from_then_on() -> None:
    with Receiver() as receiver, Sender(look_up=lambda host: ["127.0.0.9", "127.0.0.1"]) as sender:
        url = receiver.url.replace("127.0.0.1", "shop.example")
        assert sender.one(url).kind == "delivered"
        with Receiver(host="127.0.0.9", port=receiver.port) as other:
            assert sender.one(url).kind == "delivered"
            assert other.connections == 0


def test_every_try_has_the_same_id_and_body_and_the_messages_trace() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    same = work("http://127.0.0.1:1/", traceparent=trace)
    with Receiver(status(500), ok()) as receiver, Sender() as sender:
        for attempt in (1, 2):
            sender.one(receiver.url, message_id=same.message_id, traceparent=trace, attempt=attempt)
        first, second = receiver.wait_for(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    traces = [request.headers["traceparent"] for request in (first, second)]
    assert [value[:36] + value[52:] for value in traces] == [trace[:36] + trace[52:]] * 2
    assert len({trace[36:52], *(value[36:52] for value in traces)}) == 3


def test_hanging_receivers_keep_nobody_waiting() -> None:
    with Receiver() as receiver, Sender() as sender:
        receiver.at("/dead", hang())
        base = receiver.url.removesuffix("/hook")
        began = time.monotonic()
        outcomes = sender.send(*(work(base + ("/dead" if number % 2 else "/hook"), timeout=1) for number in range(40)))
        took = time.monotonic() - began
    assert [outcome.kind for outcome in outcomes] == ["delivered", "retry"] * 20
    assert took < 5, "one after another they take twenty seconds"
    assert outcomes[1].error == f"no answer from 127.0.0.1:{receiver.port} within 1 s: waiting for the answer"


@pytest.mark.parametrize(
    ("behaviour", "kind", "phase"),
    [
        (hang(), "retry", "waiting for the answer"),
        (trickle(0.02), "retry", "waiting for the answer"),
        (trickle(0.02, b"", b"H"), "retry", "is no HTTP"),
        (trickle(0.02, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"), "retry", "waiting for the answer"),
        (trickle(0.02, b"HTTP/1.1 500 No\r\n\r\n", b"x"), "retry", "the receiver answered 500"),
        (trickle(0.02, b"HTTP/1.1 200 Yes\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), "delivered", "None"),
    ],
)
def test_one_deadline_ends_everything(behaviour: Any, kind: str, phase: str) -> None:
    with Receiver(behaviour) as receiver, Sender() as sender:
        began = time.monotonic()
        outcome = sender.one(receiver.url, timeout=0.15)
        took = time.monotonic() - began
        sender.wait(0.01)
        receiver.wait_for_silence()
    assert took < 1
    assert outcome.kind == kind
    assert phase in str(outcome.error)


def test_a_name_server_that_hangs_ends_at_the_deadline_too() -> None:
    free = threading.Event()

    def look_up(host: str) -> list[str]:
        free.wait(5)
        return ["127.0.0.1"]

    with Sender(look_up=look_up) as sender:
        outcome = sender.one("https://shop.example/", timeout=0.1)
        free.set()
    assert (outcome.kind, outcome.error) == ("retry", "no answer from shop.example within 0.1 s: resolving the name")


def test_a_name_without_address_may_have_one_later() -> None:
    def look_up(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with Sender(look_up=look_up) as sender:
        outcome = sender.one("https://shop.example/")
    assert (outcome.kind, outcome.error) == ("retry", "the name shop.example has no address: Name or service not known")


def test_a_name_that_moves_to_a_private_address_is_refused_then() -> None:
    """The first answer stands for a public address: it is allowed. The second one is not."""
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    with Receiver() as receiver, Sender(look_up=lambda host: answers.pop(0), networks=("127.0.0.1/32",)) as sender:
        url = receiver.url.replace("127.0.0.1", "shop.example")
        assert sender.one(url).kind == "delivered"
        assert len(answers) == 1  # asked for once: what was checked is what was connected to
        sender.channel._guard._resolver._known.clear()
        outcome = sender.one(url)
        assert len(receiver.requests) == 1
    assert outcome.kind == "retry"  # the name may move again
    assert "shop.example is 127.0.0.2, which is of this machine (loopback)" in str(outcome.error)


def test_a_kept_connection_ends_with_its_permission() -> None:
    with Receiver() as receiver, Sender() as sender:
        assert sender.one(receiver.url).kind == "delivered"
        sender.allowed.networks.clear()
        outcome = sender.one(receiver.url)
        assert len(receiver.requests) == 1
    assert (outcome.kind, outcome.code) == ("failed", None)  # an address in the URL stays what it is


@pytest.mark.parametrize("host", ["localhost", "0x7f.1", "2130706433", "017700000001", "[::ffff:127.0.0.1]", "[::1]", "127.1"])
def test_this_machine_is_refused_however_it_is_written(host: str) -> None:
    with Receiver() as receiver, Sender(networks=()) as sender:
        outcome = sender.one(f"http://{host}:{receiver.port}/", timeout=1)
        assert receiver.connections == 0
    assert "of this machine" in str(outcome.error)
