from __future__ import annotations

from typing import Any

import pyotp
from support.cast import PASSWORD, Cast, assert_problem, audited

from messagebroker.ops import clock

LOGIN, PATH = "/api/v1/auth/login", "/api/v1/auth/second-factor"


def at(steps: int = 0) -> int:
    return int(clock.now().timestamp()) + 30 * steps


def set_up(cast: Cast, role: str = "user") -> tuple[pyotp.TOTP, list[str]]:
    made = cast.post(PATH, role, json={"password": PASSWORD}).json
    generator = pyotp.TOTP(made["secret"])
    confirmed = cast.post(PATH + "/confirm", role, json={"code": generator.at(at(-1))})
    assert confirmed.status_code == 200, confirmed.text
    return generator, confirmed.json["recovery_codes"]


def log_in(cast: Cast, role: str = "user", **more: Any) -> Any:
    return cast.post(LOGIN, json={"email": f"{role}@example.org", "password": PASSWORD, **more})


def test_without_one_a_code_is_not_looked_at(cast: Cast) -> None:
    assert cast.get(PATH, "user").json == {"active": False, "recovery_codes_left": 0}
    assert log_in(cast, code="123456").status_code == 200


def test_with_one_the_password_is_not_enough(cast: Cast) -> None:
    generator, codes = set_up(cast)
    assert cast.get(PATH, "user").json == {"active": True, "recovery_codes_left": 10}
    assert_problem(log_in(cast), 401, "second-factor-required")
    assert_problem(log_in(cast, code="000000"), 401, "wrong-code")
    assert_problem(log_in(cast, code=generator.at(at(-1))), 401, "wrong-code")
    assert log_in(cast, code=generator.at(at())).status_code == 200
    assert log_in(cast, code=codes[0]).status_code == 200
    assert_problem(log_in(cast, code=codes[0]), 401, "wrong-code")
    assert len(audited("user.login-failed")) == 3
    assert len(audited("second-factor.recovery-code")) == 1


def test_with_a_wrong_password_nobody_learns_that_there_is_one(cast: Cast) -> None:
    generator, _ = set_up(cast)
    for code in ({}, {"code": generator.at(at())}):
        answer = cast.post(LOGIN, json={"email": "user@example.org", "password": "wrong", **code})
        assert_problem(answer, 401, "wrong-credentials")
    assert log_in(cast, code=generator.at(at())).status_code == 200, "the code was not used up by a wrong password"


def test_guessing_codes_is_slowed_down(cast: Cast) -> None:
    set_up(cast)
    for _ in range(5):
        assert_problem(log_in(cast, code="000000"), 401, "wrong-code")
    assert_problem(log_in(cast), 429, "too-many-attempts")


def test_a_token_alone_changes_no_second_factor(cast: Cast) -> None:
    assert_problem(cast.post(PATH, "user", json={"password": "wrong"}), 403, "wrong-password")
    _, codes = set_up(cast)
    for path in ("/remove", "/recovery-codes"):
        for proof in ({"password": "wrong", "code": codes[0]}, {"password": PASSWORD, "code": "000000"}):
            assert cast.post(PATH + path, "user", json=proof).status_code == 403
        assert_problem(cast.post(PATH + path, "user", json={"password": PASSWORD}), 422, "invalid-field")
    assert cast.get(PATH, "user").json["active"] is True
    assert_problem(cast.post(PATH, "user", json={"password": PASSWORD}), 409, "conflict")


def test_new_recovery_codes_and_removal(cast: Cast) -> None:
    generator, codes = set_up(cast)
    new = cast.post(PATH + "/recovery-codes", "user", json={"password": PASSWORD, "code": generator.at(at())})
    assert len(set(new.json["recovery_codes"]) - set(codes)) == 10
    code = new.json["recovery_codes"][0]
    assert cast.post(PATH + "/remove", "user", json={"password": PASSWORD, "code": code}).status_code == 204
    assert log_in(cast).status_code == 200


def test_a_manager_removes_it_for_who_lost_everything(cast: Cast) -> None:
    set_up(cast)
    path = f"/api/v1/users/{cast.person('user').id}"
    assert cast.get(path, "admin").json["second_factor"] is True
    assert cast.call("DELETE", path + "/second-factor", token=cast.token("user_manager")).status_code == 204
    assert log_in(cast).status_code == 200
    assert [entry.actor for entry in audited("second-factor.remove")] == ["user:user_manager@example.org"]


def test_confirming_needs_a_beginning(cast: Cast) -> None:
    assert_problem(cast.post(PATH + "/confirm", "user", json={"code": "123456"}), 409, "conflict")
    cast.post(PATH, "user", json={"password": PASSWORD})
    for _ in range(4):
        assert_problem(cast.post(PATH + "/confirm", "user", json={"code": "000000"}), 403, "wrong-code")
    assert_problem(log_in(cast, code="x"), 422, "invalid-field")
