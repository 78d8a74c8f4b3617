from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from messagebroker.db.connection import connected
from messagebroker.db.models import AuditEntry, Session, User
from messagebroker.ops import clock, sessions, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.sessions import Pair, RefreshedMeanwhile, RefreshRefused, Why
from messagebroker.ops.tokens import Tokens

pytestmark = pytest.mark.usefixtures("database")
ME = Actor(name="cli:test")
GOOD = "a long enough one 1"
TOKENS = Tokens(b"s" * 32, 15)


@pytest.fixture
def ada(database: object) -> User:
    users.create("ada@example.org", "user", password=GOOD, actor=ME)
    return users.find("ada@example.org")


def later(monkeypatch: pytest.MonkeyPatch, **time: float) -> None:
    moment = clock.now() + timedelta(**time)
    monkeypatch.setattr(clock, "now", lambda: moment)


def refreshed(pair: Pair) -> Pair:
    return sessions.refresh(TOKENS, pair.refresh, actor=ME)


def actions() -> list[str]:
    with connected():
        return [entry.action for entry in AuditEntry.select().order_by(AuditEntry.id)]


def test_a_refresh_token_is_good_once_and_gives_the_next(ada: User) -> None:
    first = sessions.begin(TOKENS, ada, address="192.0.2.7", user_agent="Lynx\n")
    second = refreshed(first)
    third = refreshed(second)
    assert len({first.refresh, second.refresh, third.refresh}) == 3
    for pair in (first, second, third):
        holder = TOKENS.holder(pair.access)
        assert holder is not None
        assert (holder.user.id, holder.session) == (ada.id, first.session)
    [row] = sessions.page(ada.id, limit=5)
    assert (row.address, row.user_agent) == ("192.0.2.7", "Lynx?")
    assert first.refresh.encode() not in bytes(row.refresh_hash)


def test_an_old_refresh_token_ends_the_whole_family(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sessions.begin(TOKENS, ada)
    second = refreshed(first)
    later(monkeypatch, seconds=11)
    with pytest.raises(RefreshRefused, match="used before"):
        refreshed(first)
    assert TOKENS.holder(second.access) is None
    with pytest.raises(RefreshRefused):
        refreshed(second)
    assert actions()[-1] == "session.end"
    with connected():
        assert Session.get().ended_why == "reused"


def test_a_still_older_one_ends_it_at_once(ada: User) -> None:
    first = sessions.begin(TOKENS, ada)
    last = refreshed(refreshed(first))
    with pytest.raises(RefreshRefused, match="used before"):
        refreshed(first)
    assert TOKENS.holder(last.access) is None


def test_logins_at_once_do_not_wait_for_each_other(ada: User) -> None:
    ready, got = threading.Barrier(6), []

    def log_in() -> None:
        ready.wait()
        for _ in range(5):
            got.append(sessions.begin(TOKENS, ada).session)

    threads = [threading.Thread(target=log_in) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(got)) == 30


def test_two_refreshes_at_once_leave_one_good_pair(ada: User) -> None:
    for _ in range(5):
        pair = sessions.begin(TOKENS, ada)
        ready, got, refused = threading.Barrier(4), [], []

        def refresh(pair: Pair = pair, ready: threading.Barrier = ready, got: list = got, refused: list = refused) -> None:  # type: ignore[type-arg]
            ready.wait()
            try:
                got.append(refreshed(pair))
            except RefreshedMeanwhile as error:
                refused.append(error)

        threads = [threading.Thread(target=refresh) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert (len(got), len(refused)) == (1, 3)
        assert TOKENS.holder(got[0].access) is not None
        assert refreshed(got[0])


@pytest.mark.parametrize("change", ["random", "proof", "other secret", "cut", "noise"])
def test_a_forged_refresh_token_ends_nobodys_session(ada: User, change: str) -> None:
    pair = sessions.begin(TOKENS, ada)
    forged = {
        "random": pair.refresh[:30] + ("A" if pair.refresh[30] != "A" else "B") + pair.refresh[31:],
        "proof": pair.refresh[:-8] + "AAAAAAA=",
        "other secret": Tokens(b"t" * 32, 15).new_refresh(pair.session),
        "cut": pair.refresh[:20],
        "noise": "ÿ\x00",
    }[change]
    with pytest.raises(RefreshRefused, match="not valid"):
        sessions.refresh(TOKENS, forged, actor=ME)
    assert TOKENS.holder(pair.access) is not None
    assert refreshed(pair)


def test_it_ends_without_a_refresh_and_at_last_also_with_them(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = clock.now()
    unused = sessions.begin(TOKENS, ada)
    used = sessions.begin(TOKENS, ada)
    for day in range(1, 31):
        monkeypatch.setattr(clock, "now", lambda day=day: begun + timedelta(days=day, minutes=-1))
        used = refreshed(used)
    assert used.expires_at <= begun + timedelta(days=30, seconds=5)
    with pytest.raises(RefreshRefused):
        refreshed(unused)
    monkeypatch.setattr(clock, "now", lambda: begun + timedelta(days=30, minutes=1))
    with pytest.raises(RefreshRefused):
        refreshed(used)
    assert TOKENS.holder(used.access) is None


def test_a_disabled_user_cannot_refresh(ada: User) -> None:
    users.create("root@example.org", "admin", password=GOOD, actor=ME)
    pair = sessions.begin(TOKENS, ada)
    users.set_disabled(ada.email, True, actor=ME)
    with pytest.raises(RefreshRefused):
        refreshed(pair)
    users.set_disabled(ada.email, False, actor=ME)
    with pytest.raises(RefreshRefused):
        refreshed(pair)


def test_ending(ada: User) -> None:
    users.create("bob@example.org", "user", password=GOOD, actor=ME)
    bob = users.find("bob@example.org")
    pairs = [sessions.begin(TOKENS, ada) for _ in range(4)]
    his = sessions.begin(TOKENS, bob)
    assert sessions.end(pairs[0].session, Why.LOGOUT, ME) is True
    assert sessions.end(pairs[0].session, Why.LOGOUT, ME) is False
    assert sessions.end(his.session, Why.OWNER, ME, user_id=ada.id) is False
    assert sessions.end_all(ada, Why.OWNER, ME, but=pairs[1].session) == 2
    assert [TOKENS.holder(pair.access) is not None for pair in (*pairs, his)] == [False, True, False, False, True]
    assert [bytes(row.id) for row in sessions.page(ada.id, limit=5)] == [pairs[1].session]
    assert sessions.count_active() == 2
    assert actions()[-2:] == ["session.end", "session.end-all"]


def test_pages_are_in_the_order_of_beginning(ada: User) -> None:
    made = [sessions.begin(TOKENS, ada).session for _ in range(5)]
    first = sessions.page(ada.id, limit=3)
    rest = sessions.page(ada.id, limit=3, after=first[-1].id)
    assert [bytes(row.id) for row in (*first, *rest)] == made


def test_whence_somebody_came_before(ada: User) -> None:
    pair = sessions.begin(TOKENS, ada, address="192.0.2.7")
    sessions.end(pair.session, Why.LOGOUT, ME)
    assert sessions.came_from("ada@example.org", "192.0.2.7") is True
    assert sessions.came_from("ada@example.org", "192.0.2.8") is False
    assert sessions.came_from("bob@example.org", "192.0.2.7") is False


def test_old_ones_are_forgotten_a_month_after_their_end(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions.begin(TOKENS, ada)
    later(monkeypatch, days=36)
    assert sessions.forget_old() == 0
    later(monkeypatch, days=2)
    assert sessions.forget_old() == 1
    assert sessions.count_active() == 0
