from __future__ import annotations

import pytest

from messagebroker.client.answers import Person, Token
from messagebroker.ui.sessions import PER_PERSON, End, Sessions

ADA = Person(email="ada@example.org", role="admin")
TOKEN = Token(access_token="secret", expires_in=1000)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(60, clock)


def test_only_the_cookie_value_finds_the_session(sessions: Sessions) -> None:
    value = sessions.open(TOKEN, ADA)
    found = sessions.find(value)
    assert found is not None
    assert found.token == "secret"
    assert sessions.find(value[:-1]) is None
    assert sessions.find("") is None
    assert sessions.find(None) is None


def test_values_are_long_and_never_kept(sessions: Sessions) -> None:
    values = {sessions.open(TOKEN, ADA) for _ in range(5)}
    assert len(values) == 5
    assert all(len(value) >= 43 for value in values)  # 256 bits
    assert not any(value.encode() in key for value in values for key in sessions._by_key)


def test_doing_nothing_ends_it_and_using_it_does_not(sessions: Sessions, clock: Clock) -> None:
    value = sessions.open(TOKEN, ADA)
    for _ in range(5):
        clock.now += 59
        session = sessions.find(value)
        assert session is not None
        sessions.used(session)
    clock.now += 59
    assert sessions.is_open(session)  # asking is no use
    clock.now += 1
    assert not sessions.is_open(session)
    assert sessions.find(value) is None


def test_it_never_outlives_the_token(sessions: Sessions, clock: Clock) -> None:
    value = sessions.open(Token(access_token="secret", expires_in=90), ADA)
    reasons: list[End] = []
    session = sessions.find(value)
    assert session is not None
    session.on_end.add(reasons.append)
    clock.now += 50
    sessions.used(session)
    clock.now += 40
    assert sessions.find(value) is None
    assert reasons == [End.EXPIRED]


def test_the_end_tells_open_pages_once_and_forgets_the_token(sessions: Sessions, clock: Clock) -> None:
    session = sessions.find(sessions.open(TOKEN, ADA))
    assert session is not None
    reasons: list[End] = []
    session.on_end.add(reasons.append)
    clock.now += 61
    sessions.sweep()
    sessions.sweep()
    assert reasons == [End.IDLE]
    assert session.token == ""
    assert len(sessions) == 0


def test_a_person_has_so_many_sessions_and_the_least_used_goes(sessions: Sessions, clock: Clock) -> None:
    other = sessions.open(TOKEN, Person(email="una@example.org", role="user"))
    values = []
    for _ in range(PER_PERSON):
        clock.now += 0.1
        values.append(sessions.open(TOKEN, ADA))
    first = sessions.find(values[0])
    assert first is not None
    clock.now += 0.1
    sessions.used(first)
    sessions.open(TOKEN, ADA)
    assert sessions.find(values[0]) is first
    assert sessions.find(values[1]) is None
    assert sessions.find(other) is not None


def test_all_of_one_person(sessions: Sessions) -> None:
    mine, hers = sessions.open(TOKEN, ADA), sessions.open(TOKEN, Person(email="una@example.org", role="user"))
    sessions.end_all_of(ADA.email, End.PASSWORD)
    assert sessions.find(mine) is None
    assert sessions.find(hers) is not None


def test_a_one_time_password_marks_the_session(sessions: Sessions) -> None:
    value = sessions.open(Token(access_token="secret", must_change_password=True), ADA)
    session = sessions.find(value)
    assert session is not None
    assert session.must_change_password


def test_neither_token_nor_listeners_show(sessions: Sessions) -> None:
    assert "secret" not in repr(sessions.find(sessions.open(TOKEN, ADA)))


def test_tokens_that_end_soon_are_handed_out_for_refreshing_once(sessions: Sessions, clock: Clock) -> None:
    session = sessions.find(sessions.open(Token(access_token="a", refresh_token="r", expires_in=90), ADA))
    assert session is not None
    assert sessions.take_due() == []
    clock.now += 59
    assert sessions.take_due() == []
    sessions.used(session)
    clock.now += 1
    assert sessions.take_due() == [(session, "r")]
    assert sessions.take_due() == []
    sessions.try_again(session, "r", 5)
    assert sessions.take_due() == []
    clock.now += 5
    assert sessions.take_due() == [(session, "r")]
    sessions.renewed(session, Token(access_token="b", refresh_token="s", expires_in=90))
    clock.now += 50
    sessions.used(session)
    assert sessions.is_open(session)
    assert session.token == "b"
    clock.now += 30
    assert sessions.take_due() == [(session, "s")]
    assert "refresh='" not in repr(session)


def test_nothing_comes_back_to_a_session_that_has_ended(sessions: Sessions, clock: Clock) -> None:
    session = sessions.find(sessions.open(Token(access_token="a", refresh_token="r", expires_in=90), ADA))
    assert session is not None
    clock.now += 60
    assert sessions.take_due() == [], "nobody has used it for a minute"
    sessions.end(session, End.LOGOUT)
    sessions.renewed(session, Token(access_token="b"))
    sessions.try_again(session, "r", 0)
    assert (session.token, session.refresh) == ("", None)
