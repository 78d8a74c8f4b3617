from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.cast import Cast, Shelf, assert_problem

from messagebroker.db.models import Client, IngestFailure, MessageAlias
from messagebroker.ops import clock, ids

PATH = "/api/v1/messages/counts"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(hours: float) -> bytes:
    moment = NOON + timedelta(hours=hours)
    return ids.floor(moment)[:8] + ids.new()[8:]


def counts(cast: Cast, **params: Any) -> Any:
    asked = {"client": "owner", "since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z", **params}
    answer = cast.get(PATH, peer="proxy", params={name: value for name, value in asked.items() if value is not None})
    assert answer.status_code == 200, answer.text
    return answer.json


def test_messages_are_counted_by_the_hour_of_their_acceptance(cast: Cast, shelf: Shelf) -> None:
    for hours in (0, 0.5, 0.999, 1, 5.5):
        shelf.put(id=at(hours))
    shelf.put(id=at(0.5), client_id="other")
    found = counts(cast)
    assert [(hour["hour"], hour["stored"]) for hour in found["items"]] == [
        ("2026-03-01T12:00:00Z", 3), ("2026-03-01T13:00:00Z", 1), ("2026-03-01T17:00:00Z", 1),
    ]  # fmt: skip
    assert (found["client_id"], found["stored"], found["copies"], found["set_aside"]) == ("owner", 5, 0, 0)


def test_ids_that_are_copies_or_set_aside_are_counted_beside(cast: Cast, shelf: Shelf) -> None:
    stored = shelf.put(id=at(0))
    strange = shelf.put(id=at(0), client_id="other")
    for message_id in (stored, strange):
        MessageAlias.insert(id=at(2.5), message=ids.parse(message_id), created_at=clock.now()).execute()
    now = clock.now()
    for client in ("owner", "other"):
        IngestFailure.insert(id=at(2), client_id=client, accepted_at=now, failed_at=now, error="e", record=b"x").execute()
    found = counts(cast)
    assert [(hour["stored"], hour["copies"], hour["set_aside"]) for hour in found["items"]] == [(1, 0, 0), (0, 1, 1)]
    assert (found["stored"], found["copies"], found["set_aside"]) == (1, 1, 1)


def test_the_ends_are_exact(cast: Cast, shelf: Shelf) -> None:
    for hours in (0, 0.25, 0.5):
        shelf.put(id=at(hours))
    assert counts(cast, since="2026-03-01T12:15:00Z", until="2026-03-01T12:30:00Z")["stored"] == 1
    assert counts(cast, since="2026-03-01T13:15:00+01:00", until="2026-03-01T13:30:01+01:00")["stored"] == 2
    assert counts(cast, since="2026-03-01T12:30:00Z", until="2026-03-01T12:15:00Z")["items"] == []


def test_a_whole_month_at_once_and_no_more(cast: Cast, shelf: Shelf) -> None:
    for hours in range(0, 31 * 24, 7):
        shelf.put(id=at(hours))
    found = counts(cast, since="2026-03-01T12:00:00Z", until="2026-04-01T12:00:00Z")
    assert (len(found["items"]), found["stored"]) == (107, 107)
    longer = {"client": "owner", "since": "2026-03-01T11:59:59Z", "until": "2026-04-01T12:00:00Z"}
    assert assert_problem(cast.get(PATH, peer="proxy", params=longer), 400, "invalid-parameter")["field"] == "since"


def test_the_last_day_by_default(cast: Cast, shelf: Shelf) -> None:
    shelf.put(id=ids.floor(clock.now() - timedelta(hours=25)))
    shelf.put(id=ids.floor(clock.now() - timedelta(hours=23)))
    assert counts(cast, since=None, until=None)["stored"] == 1


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1969-12-31T23:00:00Z"])
def test_times_at_the_ends_of_the_calendar(cast: Cast, moment: str) -> None:
    assert counts(cast, since=moment, until=moment)["items"] == []
    assert counts(cast, since=None, until=moment)["items"] == []


def test_people_count_what_they_may_see(cast: Cast, shelf: Shelf) -> None:
    Client.insert(name="owner", owner="user@example.org", created_at=clock.now()).execute()
    shelf.put()
    shelf.put(client_id="other")
    for role, client in (("user", "owner"), ("operator", "owner"), ("admin", "other")):
        assert cast.get(PATH, role, params={"client": client}).json["stored"] == 1
    there, never = (cast.get(PATH, "user", params={"client": client}) for client in ("other", "never"))
    assert_problem(there, 404, "not-found")
    assert there.text.replace("other", "never") == never.text


@pytest.mark.parametrize(
    ("query", "field"),
    [("", "client"), ("client=X", "client"), ("client=a&since=now", "since"), ("client=a&status=failed", "status")],
)
def test_bad_parameters(cast: Cast, query: str, field: str) -> None:
    assert assert_problem(cast.get(PATH, peer="proxy", query_string=query), 400, "invalid-parameter")["field"] == field
