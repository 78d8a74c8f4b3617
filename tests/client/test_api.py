"""People's tools and main: tokens go into one header, never into a repr, and each call says for whom it asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_main import FakeMain, message_id
from support.scripted import DROP, Scripted

from messagebroker.client import Caller, Problem, Retry, Unreachable
from messagebroker.client.answers import Queue, QueueStats, Token

Connect = Callable[..., Any]


def test_login_list_open(connect: Connect, certs: Path) -> None:
    with FakeMain(certs) as main:
        api = connect(main.url, api=True)
        token = api.login("ada@example.org", "correct horse battery", caller=Caller(address="192.0.2.7", user_agent="Lynx/1"))
        me = Caller(token=token.access_token, address="192.0.2.7")
        assert api.me(me).permissions == ["messages.list", "messages.open", "inbox.own", "queues.read"]
        first = api.messages(me, status="failed", limit=2)
        second = api.messages(me, status="failed", limit=2, cursor=first.next)
        assert [m.message_id for m in first.items + second.items] == [message_id(n) for n in (60, 50, 40, 30)]
        assert api.message(me, message_id(59)).body is None
        assert api.message(me, message_id(59), body=True).body == {"total": 12, "currency": "EUR"}
        assert main.opened == [f"ada@example.org {message_id(59)}"]
        assert api.queue_stats(me).messages == 1234
        told = main.headers_of("/api/v1/auth/login")
        assert (told["x-forwarded-for"], told["user-agent"]) == ("192.0.2.7", "Lynx/1")
        assert "authorization" not in told


def test_a_changed_password_brings_a_new_token(connect: Connect, certs: Path) -> None:
    with FakeMain(certs) as main:
        api = connect(main.url, api=True)
        old = Caller(token=api.login("new@example.org", "one-time-1234").access_token)
        assert api.me(old).must_change_password
        new = api.change_password(old, "one-time-1234", "words of my own")
        assert not api.me(Caller(token=new.access_token)).must_change_password
        with pytest.raises(Problem) as caught:
            api.me(old)
        assert (caught.value.status, caught.value.name) == (401, "token-invalid")


def test_a_login_whose_answer_was_lost_is_not_repeated(connect: Connect, certs: Path) -> None:
    with Scripted(certs, DROP, role="main") as main:
        with pytest.raises(Unreachable):
            connect(main.url, api=True, retry=Retry(attempts=3, first_pause=0.01)).login("a@example.org", "x")
    assert len(main.asked) == 1


def test_tokens_do_not_show() -> None:
    assert "hidden" not in repr(Caller(token="hidden")) + repr(Token(access_token="hidden"))


def test_the_oldest_of_all_queues() -> None:
    queues = [
        Queue(queue="a", messages=2, oldest_seconds=3.0),
        Queue(queue="b", messages=0),
        Queue(queue="c", messages=1, oldest_seconds=9),
    ]
    assert (QueueStats(queues=queues).messages, QueueStats(queues=queues).oldest_seconds) == (3, 9)
    assert QueueStats().oldest_seconds is None
