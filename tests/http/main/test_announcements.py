from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.cast import TEST, Cast, assert_problem, audited

from messagebroker.db.models import Announcement, User
from messagebroker.ops import announcements, clock

PATH = "/api/v1/announcements"


def announce(cast: Cast, role: str = "operator", **changes: Any) -> Any:
    body = {"text": "Maintenance at noon", "ends_at": (clock.now() + timedelta(hours=1)).isoformat(), **changes}
    return cast.post(PATH, role, json=body)


def change(cast: Cast, number: int, tag: str | None = None, method: str = "PATCH", **changes: Any) -> Any:
    headers = {"If-Match": tag} if tag else {}
    more = {"json": changes} if method == "PATCH" else {}
    return cast.call(method, f"{PATH}/{number}", token=cast.token("operator"), headers=headers, **more)


def in_hours(hours: float) -> str:
    return (clock.now() + timedelta(hours=hours)).isoformat()


def test_everybody_reads_the_present_ones(cast: Cast) -> None:
    made = announce(cast, severity="critical", text="Größe 🎉\n<script>").json
    announce(cast, starts_at=in_hours(1), ends_at=in_hours(2))
    announce(cast, starts_at=in_hours(-2), ends_at=in_hours(-1))
    for role in cast.roles:
        [item] = cast.get(PATH, role).json["items"]
        assert (item["text"], item["severity"]) == ("Größe 🎉\n<script>", "critical")
        assert item["created_by"] == (made["created_by"] if role in ("operator", "admin") else None)
    User.update(must_change_password=True).where(User.email == "user@example.org").execute()
    assert len(cast.get(PATH, "user").json["items"]) == 1
    assert_problem(cast.get(PATH), 401, "token-required")


def test_the_one_that_ends_first_is_first_and_pages_have_each_once(cast: Cast) -> None:
    hours = [3, 1, 2, 2, 5, 4]
    now = clock.now()
    made = [announcements.create(str(h), "info", now, now + timedelta(hours=h), actor=TEST).id for h in hours]
    found, cursor = [], None
    while True:
        page = cast.get(PATH, "user", params={"limit": 1, **({"cursor": cursor} if cursor else {})}).json
        found += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == [made[at] for at in (1, 2, 3, 0, 5, 4)]
    listed = cast.get(PATH, "admin", params={"all": "true", "limit": 4}).json
    rest = cast.get(PATH, "admin", params={"all": "true", "cursor": listed["next"]}).json
    assert [item["id"] for item in listed["items"] + rest["items"]] == made[::-1]


def test_making_changing_and_removing_are_recorded(cast: Cast) -> None:
    answer = announce(cast)
    number = answer.json["id"]
    assert (answer.status_code, answer.headers["location"]) == (201, f"{PATH}/{number}")
    assert answer.json["created_by"] == "operator@example.org"
    changed = change(cast, number, answer.headers["etag"], text="At one")
    assert (changed.json["text"], changed.json["ends_at"]) == ("At one", answer.json["ends_at"])
    assert change(cast, number, changed.headers["etag"], "DELETE").status_code == 204
    assert_problem(change(cast, number, None, "DELETE"), 404, "not-found")
    [row] = audited("announcement.change")
    assert json.loads(row.details) == {"before": {"text": "Maintenance at noon"}, "after": {"text": "At one"}}
    assert [row.actor for action in ("create", "remove") for row in audited(f"announcement.{action}")] == [
        "user:operator@example.org"
    ] * 2


def test_of_two_at_once_one_learns_of_the_other(cast: Cast) -> None:
    made = announce(cast)
    number, tag = made.json["id"], made.headers["etag"]
    assert cast.get(f"{PATH}/{number}", "admin").headers["etag"] == tag
    statuses: list[int] = []

    def try_it(text: str) -> None:
        statuses.append(change(cast, number, tag, text=text).status_code)

    threads = [threading.Thread(target=try_it, args=(f"mine {at}",)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 412, 412, 412]
    assert len(audited("announcement.change")) == 1
    assert_problem(change(cast, number, tag, "DELETE"), 412, "changed-meanwhile")
    assert Announcement.select().count() == 1


def test_who_may_not(cast: Cast) -> None:
    number = announce(cast).json["id"]
    for role in ("user", "user_manager"):
        assert_problem(announce(cast, role), 403, "forbidden")
        assert_problem(cast.get(PATH, role, params={"all": "true"}), 403, "forbidden")
        for method in ("GET", "PATCH", "DELETE"):
            for known in (number, 999):
                assert_problem(cast.call(method, f"{PATH}/{known}", token=cast.token(role), json={}), 403, "forbidden")
    assert Announcement.select().count() == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"text": ""}, "text"), ({"text": " \n"}, "text"), ({"text": "a\x00b"}, "text"), ({"text": "a\u202eb"}, "text"),
        ({"text": "x" * 2001}, "text"), ({"severity": "fatal"}, "severity"), ({"ends_at": "2026-01-01T00:00:00"}, "ends_at"),
        ({"ends_at": "0001-01-01T00:00:00+14:00"}, "ends_at"), ({"ends_at": "9999-12-31T23:59:59-12:00"}, "ends_at"),
        ({"starts_at": "2100-01-01T00:00:00Z"}, "ends_at"), ({"id": 7}, "id"), ({"created_by": "me"}, "created_by"),
    ],
)  # fmt: skip
def test_what_will_not_do_is_named(cast: Cast, changes: dict[str, Any], field: str) -> None:
    assert assert_problem(announce(cast, **changes), 422, "invalid-field")["field"] == field
    number = announce(cast).json["id"]
    assert assert_problem(change(cast, number, **changes), 422, "invalid-field")["field"] == field


def test_hostile_json(cast: Cast) -> None:
    headers = {"Content-Type": "application/json"}
    deep = b'{"text": ' + b"[" * 60_000
    assert_problem(cast.post(PATH, "operator", body=deep, headers=headers), 422, "invalid-field")
    nested = b'{"text": "x", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
    assert cast.post(PATH, "operator", body=nested, headers=headers).status_code in (400, 422)
    assert_problem(cast.post(PATH, "operator", body=b'"' + b"x" * 70_000 + b'"', headers=headers), 413, "too-large")
    assert_problem(cast.post(PATH, "operator", body=b"\xff", headers=headers), 400, "invalid-json")
    assert_problem(cast.post(PATH, "operator", body=b"text=x"), 415, "unsupported-media-type")
    assert Announcement.select().count() == 0


@pytest.mark.parametrize("number", ["0", "-1", "x", "1e3", "9" * 30, "1%20OR%201=1", "٣"])
def test_what_is_no_number_is_not_found(cast: Cast, number: str) -> None:
    announce(cast)
    assert_problem(cast.get(f"{PATH}/{number}", "operator"), 404, "not-found")


def test_cursors_of_other_lists(cast: Cast) -> None:
    for _ in range(2):
        announce(cast)
    present = cast.get(PATH, "operator", params={"limit": 1}).json["next"]
    everything = cast.get(PATH, "operator", params={"all": "true", "limit": 1}).json["next"]
    for params in ({"cursor": everything}, {"cursor": present, "all": "true"}, {"cursor": "A" * 11}, {"cursor": "_" * 32}):
        assert_problem(cast.get(PATH, "operator", params=params), 400, "invalid-parameter")


def test_times_are_told_in_utc(cast: Cast) -> None:
    item = announce(cast, ends_at="2100-06-01T12:00:00+02:00").json
    assert datetime.fromisoformat(item["ends_at"]).utcoffset() == timedelta(0)
    assert item["ends_at"].startswith("2100-06-01T10:00:00")
