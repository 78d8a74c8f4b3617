from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest

from messagebroker.db.connection import connected
from messagebroker.db.models import AuditEntry, RecoveryCode, User
from messagebroker.errors import ConfigurationError, Conflict
from messagebroker.ops import clock, keyring, second_factor, users
from messagebroker.ops.audit import Actor
from messagebroker.ops.second_factor import SecondFactor, WrongCode
from messagebroker.settings import Settings, load

pytestmark = pytest.mark.usefixtures("database")
ME = Actor(name="cli:test")


@pytest.fixture
def settings(database: object, tmp_path: Path) -> Settings:
    made = load({}, data_dir=tmp_path, environment="test")
    keyring.first_secrets(made)
    return made


@pytest.fixture
def second(settings: Settings) -> SecondFactor:
    return SecondFactor(settings)


@pytest.fixture
def ada(database: object) -> User:
    users.create("ada@example.org", "user", password="a long enough one 1", actor=ME)
    return users.find("ada@example.org")


def at(steps: int = 0) -> int:
    return int(clock.now().timestamp()) + 30 * steps


def set_up(second: SecondFactor, ada: User) -> tuple[pyotp.TOTP, list[str]]:
    """Its first code is of the step before, so that today's is still good."""
    made = second.start(ada, ME)
    generator = pyotp.TOTP(made.secret)
    return generator, second.confirm(ada, generator.at(at(-1)), ME)


def test_a_code_is_good_once(second: SecondFactor, ada: User) -> None:
    generator, codes = set_up(second, ada)
    assert len(set(codes)) == 10
    code = generator.at(at())
    assert second.check(ada, code, ME) is True
    assert second.check(ada, code, ME) is False
    assert second.check(ada, generator.at(at(-1)), ME) is False, "older than what was taken"
    assert second.check(ada, generator.at(at(1)), ME) is True, "a clock that is half a minute ahead"
    assert second.check(ada, generator.at(at(3)), ME) is False


@pytest.mark.parametrize("code", ["", "000000x", "12345", "１２３４５６", "abcdef", "      ", "\x00" * 6])
def test_what_is_no_code(second: SecondFactor, ada: User, code: str) -> None:
    set_up(second, ada)
    assert second.check(ada, code, ME) is False


def test_it_does_not_count_before_it_is_confirmed(second: SecondFactor, ada: User) -> None:
    made = second.start(ada, ME)
    assert made.uri.startswith("otpauth://totp/Message%20Broker:ada%40example.org?secret=")
    assert users.find(ada.email).totp_confirmed_at is None
    assert second.check(ada, pyotp.TOTP(made.secret).now(), ME) is False
    with pytest.raises(WrongCode):
        second.confirm(ada, "000000", ME)
    again = second.start(ada, ME)
    assert again.secret != made.secret
    second.confirm(ada, pyotp.TOTP(again.secret).now(), ME)
    with pytest.raises(Conflict):
        second.start(ada, ME)
    with pytest.raises(Conflict):
        second.confirm(ada, pyotp.TOTP(again.secret).at(at(1)), ME)


def test_recovery_codes_are_good_once_however_they_are_typed(second: SecondFactor, ada: User) -> None:
    _, codes = set_up(second, ada)
    assert second.check(ada, codes[0].upper().replace("-", " "), ME) is True
    assert second.check(ada, codes[0], ME) is False
    assert second_factor.recovery_codes_left(ada) == 9
    new = second.renew_recovery_codes(ada, ME)
    assert second.check(ada, codes[1], ME) is False
    assert second.check(ada, new[1], ME) is True


def test_somebody_elses_codes_are_not_mine(second: SecondFactor, ada: User) -> None:
    users.create("bob@example.org", "user", password="a long enough one 1", actor=ME)
    bob = users.find("bob@example.org")
    generator, codes = set_up(second, ada)
    set_up(second, bob)
    assert second.check(bob, codes[0], ME) is False
    assert second.check(bob, generator.at(at()), ME) is False


def test_one_code_at_once_lets_one_in(second: SecondFactor, ada: User) -> None:
    generator, codes = set_up(second, ada)
    for code in (generator.at(at()), codes[0]):
        ready, good = threading.Barrier(4), []

        def take(code: str = code, ready: threading.Barrier = ready, good: list[bool] = good) -> None:
            ready.wait()
            good.append(second.check(ada, code, ME))

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(good) == [False, False, False, True]


def test_nothing_of_it_is_readable_in_the_table(second: SecondFactor, ada: User) -> None:
    made = second.start(ada, ME)
    codes = second.confirm(ada, pyotp.TOTP(made.secret).now(), ME)
    with connected():
        row = User.get()
        stored = bytes(row.totp_secret) + b"".join(bytes(code.code_hash) for code in RecoveryCode.select())
        logged = str([(entry.action, entry.details) for entry in AuditEntry.select()])
    for secret in (made.secret, *codes):
        assert secret.encode() not in stored
        assert secret not in logged


def test_a_row_cannot_be_given_to_somebody_else(second: SecondFactor, ada: User, settings: Settings) -> None:
    users.create("bob@example.org", "user", password="a long enough one 1", actor=ME)
    made = second.start(ada, ME)
    second.confirm(ada, pyotp.TOTP(made.secret).now(), ME)
    with connected():
        mine = User.get(User.email == "ada@example.org")
        User.update(totp_secret=mine.totp_secret, totp_confirmed_at=clock.now()).where(
            User.email == "bob@example.org"
        ).execute()
    with pytest.raises(ConfigurationError, match="MAIN_SECRET_PATH"):
        second.check(users.find("bob@example.org"), pyotp.TOTP(made.secret).at(at(1)), ME)


def test_removed_it_asks_no_more(second: SecondFactor, ada: User) -> None:
    set_up(second, ada)
    assert second_factor.remove(ada, ME) is True
    assert second_factor.remove(ada, ME) is False
    assert users.find(ada.email).totp_confirmed_at is None
    assert second_factor.recovery_codes_left(ada) == 0
    with pytest.raises(Conflict):
        second.renew_recovery_codes(ada, ME)


def test_an_old_code_is_void(second: SecondFactor, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, _ = set_up(second, ada)
    code = generator.at(at())
    moment = clock.now() + timedelta(seconds=61)
    monkeypatch.setattr(clock, "now", lambda: moment)
    assert second.check(ada, code, ME) is False
