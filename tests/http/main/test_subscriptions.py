from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from falcon import testing
from support.cast import Cast, Shelf, assert_problem
from support.fake_webhook import FakeWebhook
from support.lines_channel import LINES
from support.subscribed import URL, attempt, delivery, webhook

from messagebroker.db.models import Client, Subscription
from messagebroker.http.main import subscription_replay, webhook_acts
from messagebroker.ops import clock, replaying, subscriptions
from messagebroker.ops.channels import CHANNELS

PATH, HOOKS = "/api/v1/subscriptions", "/api/v1/webhooks"
NEW = {"name": "shop", "channel": "webhook", "topics": ["orders.*"], "config": {"url": URL}}


def call(cast: Cast, method: str, path: str, role: str, document: Any = None, **more: Any) -> testing.Result:
    given = {} if document is None else {"json": document}
    return cast.call(method, path, token=cast.token(role), **given, **more)


def test_from_its_beginning_to_its_end(cast: Cast) -> None:
    secrets = {"headers": {"Authorization": "Bearer abc"}}
    made = call(cast, "POST", PATH, "admin", {**NEW, "secrets": secrets, "filter": {"priorities": ["high"]}})
    assert made.status_code == 201, made.text
    assert made.json["signing_secret"].startswith("whsec_")
    path, tag = made.headers["location"], made.headers["etag"]
    shown = cast.get(path, "admin")
    assert shown.json == {key: value for key, value in made.json.items() if key not in ("signing_secret", "warnings")}
    assert made.json["warnings"] == []
    assert (shown.headers["etag"], shown.json["has_secrets"], shown.json["filter"]) == (tag, True, {"priorities": ["high"]})
    assert "abc" not in shown.text + cast.get(PATH, "admin").text + cast.get(f"{HOOKS}/{shown.json['id']}", "admin").text

    changed = call(cast, "PATCH", path, "admin", {"config": {"timeout": 30}, "filter": None}, headers={"If-Match": tag})
    assert (changed.json["config"]["url"], changed.json["config"]["timeout"], changed.json["filter"]) == (URL, 30, None)
    late = call(cast, "PATCH", path, "admin", {"name": "x"}, headers={"If-Match": tag})
    assert_problem(late, 412, "changed-meanwhile")
    off = call(cast, "POST", path + "/disable", "operator", {"why": "moving house"})
    assert (off.json["disabled_at"] is None, off.json["disabled_why"]) == (False, "moving house")
    assert call(cast, "POST", path + "/enable", "operator").json["disabled_at"] is None
    assert_problem(call(cast, "DELETE", path, "admin", headers={"If-Match": tag}), 412, "changed-meanwhile")
    assert call(cast, "DELETE", path, "admin").status_code == 204
    assert_problem(cast.get(path, "admin"), 404, "not-found")
    assert cast.get(PATH, "admin").json["items"] == []


def test_attempts_that_fail_keep_nobody_from_correcting_the_address(cast: Cast) -> None:
    made = call(cast, "POST", PATH, "admin", NEW)
    Subscription.update(failures=7, failing_since=clock.now()).execute()
    path, tag = made.headers["location"], made.headers["etag"]
    changed = call(cast, "PATCH", path, "admin", {"config": {"url": URL + "/new"}}, headers={"If-Match": tag})
    assert changed.status_code == 200, changed.text
    assert changed.json["failures"] == 7


def test_a_channel_that_is_registered_is_one_of_the_api(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {"name": "file", "channel": "lines", "topics": ["*"], "config": {"path": "x"}}
    unknown = call(cast, "POST", PATH, "admin", lines)
    assert_problem(unknown, 422, "invalid-field")
    assert "there are webhook, email, inbox, pull" in unknown.json["detail"]
    monkeypatch.setitem(CHANNELS, LINES.name, LINES)
    made = call(cast, "POST", PATH, "admin", lines)
    assert (made.status_code, made.json["channel"], made.json["config"]) == (201, "lines", {"path": "x"}), made.text
    assert cast.get(PATH + "?channel=lines", "admin").json["items"][0]["name"] == "file"


def test_what_cannot_be_delivered_is_said_when_it_is_made(cast: Cast) -> None:
    made = call(cast, "POST", PATH, "admin", {**NEW, "config": {"url": "https://10.1.2.3/hooks"}})
    assert made.status_code == 201
    assert "messagebroker webhooks allow 10.1.2.3/32" in made.json["warnings"][0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"topics": []}, "topics"),
        ({"topics": ["a b"]}, "topics"),
        ({"filter": {"metadata": {}}}, "filter.metadata"),
        ({"config": {"url": "no"}}, "config.url"),
        ({"secrets": {"colour": 1}}, "secrets.colour"),
        ({"channel": "fax"}, "channel"),
        ({"owner": "nobody@example.org"}, "owner"),
        ({"removed_at": None}, "removed_at"),
    ],
)
def test_what_is_wrong_is_named(cast: Cast, change: dict[str, Any], field: str) -> None:
    answer = call(cast, "POST", PATH, "admin", {**NEW, **change})
    assert assert_problem(answer, 422, "invalid-field")["field"] == field


def test_filters_and_pages(cast: Cast) -> None:
    Client.insert(name="till", created_at=clock.now()).execute()
    numbers = [webhook(cast.settings, owner="user@example.org").id for _ in range(3)]
    pull = webhook(cast.settings, channel="pull", config={}, client="till").id
    first = cast.get(PATH, "admin", params={"limit": 2}).json
    rest = cast.get(PATH, "admin", params={"limit": 2, "cursor": first["next"]}).json
    assert [one["id"] for one in first["items"] + rest["items"]] == [*numbers, pull]
    assert [one["id"] for one in cast.get(PATH, "admin", params={"channel": "pull"}).json["items"]] == [pull]
    assert [one["id"] for one in cast.get(PATH, "user").json["items"]] == numbers
    assert [one["id"] for one in cast.get(HOOKS, "operator").json["items"]] == numbers
    both = cast.get(PATH, "admin", params={"channel": "pull", "owner": "user@example.org"})
    assert_problem(both, 400, "filter-not-indexed")
    assert_problem(cast.get(PATH, "user", params={"owner": "user@example.org"}), 400, "filter-not-indexed")
    assert_problem(cast.get(PATH, "admin", params={"cursor": "AAAA"}), 400, "invalid-parameter")


def test_the_state_and_the_logs(cast: Cast, shelf: Shelf) -> None:
    number = webhook(cast.settings).id
    message = delivery(shelf, number)
    made = [attempt(message, number, outcome) for outcome in ("retry", "delivered", "retry")]
    state = cast.get(f"{HOOKS}/{number}", "operator").json
    assert (state["failed"], state["pending"], state["last_success"]["code"], state["breaker"]) == (1, 0, 204, None)
    logs = cast.get(f"{HOOKS}/{number}/logs", "operator", params={"limit": 2}).json
    assert [one["id"] for one in logs["items"]] == made[:0:-1]
    rest = cast.get(f"{HOOKS}/{number}/logs", "operator", params={"limit": 2, "cursor": logs["next"]}).json
    assert ([one["id"] for one in rest["items"]], rest["next"]) == (made[:1], None)
    one = cast.get(f"{HOOKS}/{number}/logs", "operator", params={"outcome": "delivered", "answers": "true"}).json
    assert [entry["message_id"] for entry in one["items"]] == [message]


def test_a_test_tells_what_came_of_it_and_is_slowed_down(
    cast: Cast,
    fake_webhook: type[FakeWebhook],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = f"{HOOKS}/{webhook(cast.settings, owner='user@example.org').id}/test"
    sent = call(cast, "POST", path, "user")
    assert (sent.status_code, sent.json["delivered"], sent.json["code"], sent.json["answer"]) == (200, True, 204, "thanks")
    codes = [call(cast, "POST", path, "admin").status_code for _ in range(3)]
    assert 429 in codes
    assert len(fake_webhook.works) == 1 + codes.count(200)
    monkeypatch.setattr(webhook_acts.webhook_test, "_places", _Full())
    other = f"{HOOKS}/{webhook(cast.settings).id}/test"
    assert assert_problem(call(cast, "POST", other, "admin"), 503, "busy")


class _Full:
    def acquire(self, *, blocking: bool) -> bool:
        return blocking


def test_sending_again(cast: Cast, shelf: Shelf) -> None:
    number = webhook(cast.settings).id
    message = delivery(shelf, number, "delivered")
    sent = call(cast, "POST", f"{HOOKS}/{number}/resend", "operator", {"message_id": message})
    assert (sent.status_code, sent.json["message_id"]) == (200, message)
    assert cast.get(f"{HOOKS}/{number}", "operator").json["pending"] == 1
    running = delivery(shelf, number, "processing")
    answer = call(cast, "POST", f"{HOOKS}/{number}/resend", "operator", {"message_id": running})
    assert_problem(answer, 409, "not-resendable")
    answer = call(cast, "POST", f"{HOOKS}/{number}/resend", "operator", {"message_id": "x"})
    assert assert_problem(answer, 422, "invalid-field")["field"] == "message_id"

    for _ in range(3):
        delivery(shelf, number)
    since = {"since": (clock.now() - timedelta(hours=1)).isoformat(), "rate": 10}
    path = f"{HOOKS}/{number}/recover"
    counted = call(cast, "POST", path, "operator", {**since, "dry_run": True}).json
    assert counted == {"found": 3, "recovered": 0, "more": False, "lasts_seconds": 0.3}
    assert call(cast, "POST", path, "operator", since).json["recovered"] == 3
    backwards = call(cast, "POST", path, "operator", {**since, "until": "2020-01-01T00:00:00Z"})
    assert assert_problem(backwards, 422, "invalid-field")["field"] == "until"
    call(cast, "POST", f"{PATH}/{number}/disable", "operator", {})
    assert_problem(call(cast, "POST", path, "operator", since), 409, "disabled")


def test_what_was_never_for_it(cast: Cast, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    number = webhook(cast.settings).id
    for _ in range(3):
        shelf.put(topic="orders")
    shelf.put(topic="payments")
    path, since = f"{PATH}/{number}/replay", {"since": (clock.now() - timedelta(hours=1)).isoformat(), "rate": 10}
    counted = call(cast, "POST", path, "operator", {**since, "dry_run": True}).json
    assert counted == {"found": 3, "replayed": 0, "next_since": None, "lasts_seconds": 0.3}
    monkeypatch.setattr(replaying, "LOOK", 2)
    with monkeypatch.context() as hasty:
        hasty.setattr(subscription_replay, "SECONDS", -1.0)
        first = call(cast, "POST", path, "operator", since).json
    assert (first["found"], first["replayed"]) == (2, 2)
    rest = call(cast, "POST", path, "operator", {**since, "since": first["next_since"]}).json
    assert rest["replayed"] == 1, "it goes on where the first one ended"
    assert cast.get(f"{HOOKS}/{number}", "operator").json["pending"] == 3
    backwards = call(cast, "POST", path, "operator", {**since, "until": "2020-01-01T00:00:00Z"})
    assert assert_problem(backwards, 422, "invalid-field")["field"] == "until"
    assert_problem(call(cast, "POST", f"{PATH}/99/replay", "operator", since), 404, "not-found")
    call(cast, "POST", f"{PATH}/{number}/disable", "operator", {})
    assert_problem(call(cast, "POST", path, "operator", since), 409, "not-replayable")


def test_a_new_secret_is_shown_once(cast: Cast) -> None:
    number = webhook(cast.settings).id
    answer = call(cast, "POST", f"{HOOKS}/{number}/rotate-secret", "admin", {"overlap_hours": 1})
    row = subscriptions.row_of(number)
    assert answer.json["signing_secret"] == subscriptions.secrets_of(cast.settings, row).signing[0].secret
    too_long = call(cast, "POST", f"{HOOKS}/{number}/rotate-secret", "admin", {"overlap_hours": 1000})
    assert assert_problem(too_long, 422, "invalid-field")["field"] == "overlap_hours"


def test_networks(cast: Cast) -> None:
    path = f"{HOOKS}/allowed-networks"
    one = {"network": "10.1.0.0/16", "reason": "the warehouse"}
    added = call(cast, "POST", path, "admin", one)
    assert (added.status_code, added.json["network"], added.json["added_by"]) == (201, "10.1.0.0/16", "user:admin@example.org")
    assert_problem(call(cast, "POST", path, "admin", one), 409, "network-allowed")
    call(cast, "POST", path, "admin", {"network": "192.168.7.0/24", "reason": "x"})
    wrong = call(cast, "POST", path, "admin", {"network": "8.8.8.0/24", "reason": "x"})
    assert assert_problem(wrong, 422, "invalid-field")["field"] == "network"
    first = cast.get(path, "operator", params={"limit": 1}).json
    rest = cast.get(path, "operator", params={"limit": 1, "cursor": first["next"]}).json
    assert [entry["network"] for entry in first["items"] + rest["items"]] == ["10.1.0.0/16", "192.168.7.0/24"]
    assert call(cast, "POST", path + "/remove", "admin", one).status_code == 204
    assert_problem(call(cast, "POST", path + "/remove", "admin", one), 404, "not-found")
    assert_problem(call(cast, "POST", path + "/remove", "admin", {"network": "10.1.0.0/16"}), 422, "invalid-field")
