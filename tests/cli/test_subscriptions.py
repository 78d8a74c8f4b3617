from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from support.cast import Shelf
from support.fake_webhook import FakeWebhook
from support.subscribed import URL, attempt, delivery
from typer.testing import CliRunner, Result

from messagebroker.cli import subscriptions, webhooks
from messagebroker.db import schema
from messagebroker.db.connection import open_database
from messagebroker.db.models import Client
from messagebroker.errors import NotFound, Refused
from messagebroker.ops import clock, keyring
from messagebroker.ops.channels.channel import Outcome
from messagebroker.settings import Settings, load

MAKE = ("create", "shop", "--channel", "webhook", "--topic", "orders.*", "--url", URL)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, upgraded_file: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ENVIRONMENT", "test")
    made = load()
    (tmp_path / "message_system.db").write_bytes(upgraded_file.read_bytes())
    open_database(made)
    schema.require_current()
    keyring.first_secrets(made)
    return made


def run(app: typer.Typer, *words: str, given: str | None = None, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(words), input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result


def document(app: typer.Typer, *words: str) -> Any:
    return json.loads(run(app, *words, "--json").stdout)


def test_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"headers": {"X-Key": "abc"}}')
    made = document(subscriptions.app, *MAKE, "--secrets", "secrets.json", "--filter", '{"priorities": ["high"]}')
    number = str(made["id"])
    assert made["signing_secret"].startswith("whsec_")
    assert (made["config"]["url"], made["filter"]) == (URL, {"priorities": ["high"]})
    shown = run(subscriptions.app, "show", number).stdout
    assert URL in shown
    assert "whsec_" not in shown + run(webhooks.app, "show", number).stdout
    changed = document(
        subscriptions.app, "change", number, "--clear", "filter", "--schedule", "0,5", "--config", '{"timeout": 9}'
    )
    assert (changed["filter"], changed["schedule"], changed["config"]["timeout"]) == (None, [0, 5], 9)
    run(subscriptions.app, "disable", number, "--why", "moving")
    assert "disabled: moving" in run(subscriptions.app, "list").stdout
    run(subscriptions.app, "enable", number)
    assert [one["id"] for one in document(webhooks.app, "list")] == [made["id"]]
    with pytest.raises(Refused, match="not its name"):
        run(subscriptions.app, "remove", number, given="something\n")
    assert "is removed" in run(subscriptions.app, "remove", number, given="shop\n").stdout
    assert document(subscriptions.app, "list") == []


def test_other_channels() -> None:
    Client.insert(name="till-7", created_at=clock.now()).execute()
    mail = document(subscriptions.app, "create", "m", "--channel", "email", "--topic", "a", "--to", "ops@example.org")
    assert (mail["config"]["to"], "signing_secret" in mail) == (["ops@example.org"], False)
    pull = ("create", "p", "--channel", "pull", "--topic", "a", "--client", "till-7", "--ordered-by", "topic")
    assert document(subscriptions.app, *pull)["client"] == "till-7"
    assert [one["channel"] for one in document(subscriptions.app, "list", "--channel", "pull")] == ["pull"]


def test_whatever_the_channel_its_state_is_shown(settings: Settings) -> None:
    number = document(subscriptions.app, "create", "m", "--channel", "email", "--topic", "a", "--to", "ops@example.org")["id"]
    message = delivery(Shelf(settings), number)
    attempt(message, number, "failed", error="550 no such mailbox")
    shown = document(subscriptions.app, "show", str(number))
    assert (shown["failed"], shown["last_failure"]["error"]) == (1, "550 no such mailbox")
    with pytest.raises(NotFound, match=f"subscriptions show {number}"):
        run(webhooks.app, "show", str(number))


def test_a_replay_counts_asks_and_says_how_far_it_is(settings: Settings) -> None:
    number, shelf = str(document(subscriptions.app, *MAKE)["id"]), Shelf(settings)
    for _ in range(3):
        shelf.put(topic="orders.created")
    words = ("replay", number, "--since", f"{clock.now() - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}")
    counted = document(subscriptions.app, *words, "--dry-run")
    assert counted == {"found": 3, "replayed": 0, "next_since": None, "lasts_seconds": 0.06}
    refused = run(subscriptions.app, *words, "--rate", "1", given="n\n", exit_code=1)
    assert "Give 3 messages to shop, 1 a second (3 s)?" in refused.output
    assert document(webhooks.app, "show", number)["pending"] == 0
    told = run(subscriptions.app, *words, given="y\n")
    assert ("3 found" in told.stderr, "3 given" in told.stderr) == (True, True)
    assert "replayed" in told.stdout
    assert document(webhooks.app, "show", number)["pending"] == 3
    assert document(subscriptions.app, *words, "--yes")["replayed"] == 0
    assert document(subscriptions.app, *words)["found"] == 0, "nothing is left to be asked about"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["change", "1"], "nothing to change"),
        (["change", "1", "--clear", "x"], "can be cleared"),
        (["change", "1", "--clear", "filter", "--filter", "{}"], "contradict"),
        (["change", "1", "--config", "[]"], "JSON object"),
        (["change", "1", "--config", "{"], "no JSON"),
        (["change", "1", "--config", "@absent.json"], "cannot be read"),
        (["change", "1", "--schedule", "0,x"], "0,5,300"),
        (["create", "x", "--channel", "fax", "--topic", "a"], "there are webhook, email, inbox, pull"),
    ],
)
def test_mistakes_are_named(words: list[str], told: str) -> None:
    run(subscriptions.app, *MAKE)
    with pytest.raises(Refused, match=told):
        run(subscriptions.app, *words)


def test_looking_and_acting(settings: Settings, fake_webhook: type[FakeWebhook], monkeypatch: pytest.MonkeyPatch) -> None:
    number, shelf = document(subscriptions.app, *MAKE)["id"], Shelf(settings)
    message, text = delivery(shelf, number), str(number)
    attempt(message, number, "retry", error="503 from shop")
    assert document(webhooks.app, "show", text)["failed"] == 1
    assert "503 from shop" in run(webhooks.app, "logs", text, "--outcome", "retry").stdout
    assert document(webhooks.app, "logs", text, "--answers")[0]["message_id"] == message
    assert "no attempts that ended as failed" in run(webhooks.app, "logs", text, "--outcome", "failed").stdout
    attempt(message, number, "failed", error="404 \x1b[2J", request='{"user-agent": "broker \\u001b[2J"}')
    assert "404  [2J" in run(webhooks.app, "logs", text, "--outcome", "failed").stdout
    assert "> user-agent: broker" not in run(webhooks.app, "logs", text).stdout
    assert "    > user-agent: broker  [2J\n" in run(webhooks.app, "logs", text, "--headers").stdout
    with pytest.raises(Refused, match="--outcome x"):
        run(webhooks.app, "logs", text, "--outcome", "x")
    assert document(webhooks.app, "test", text)["delivered"] is True
    monkeypatch.setattr(fake_webhook, "answers", Outcome(kind="retry", error="refused"))
    assert "refused" in run(webhooks.app, "test", text, exit_code=1).stdout
    since = f"{clock.now() - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}"
    assert document(webhooks.app, "recover", text, "--since", since, "--dry-run")["found"] == 1
    run(webhooks.app, "recover", text, "--since", since, given="n\n", exit_code=1)
    assert document(webhooks.app, "show", text)["failed"] == 1
    assert document(webhooks.app, "recover", text, "--since", since, "--yes")["recovered"] == 1
    assert "goes out again" in run(webhooks.app, "resend", text, message).stdout
    resent = document(webhooks.app, "resend", text, message)
    assert (resent["message_id"], set(resent)) == (message, {"message_id", "due_at"})
    with pytest.raises(Refused, match="no message id"):
        run(webhooks.app, "resend", text, "x")
    assert document(webhooks.app, "rotate-secret", text)["signing_secret"].startswith("whsec_")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["webhook", "--url", "https://10.1.2.3/hooks"], "until `messagebroker webhooks allow 10.1.2.3/32"),
        (["webhook", "--url", "http://shop.example.org/hooks"], "WEBHOOK_ALLOW_HTTP"),
        (["webhook", "--url", "http://8.8.8.8/hooks"], "WEBHOOK_ALLOW_HTTP"),
        (["email", "--to", "ops@example.org"], "SMTP_HOST is not set"),
        (["inbox", "--config", '{"user": "nobody@example.org"}'], "there is no user nobody@example.org"),
    ],
)
def test_what_cannot_be_delivered_is_said_when_it_is_made(words: list[str], told: str) -> None:
    made = run(subscriptions.app, "create", "x", "--topic", "x", "--channel", *words)
    assert "warning: " in made.stderr
    assert told in made.stderr
    assert "warning: " not in made.stdout
    assert told in run(subscriptions.app, "change", "1", "--topic", "y").stderr


def test_what_can_be_delivered_has_no_warnings() -> None:
    run(webhooks.app, "allow", "10.1.0.0/16", "--reason", "the warehouse")
    for url in (URL, "http://10.1.2.3/hooks"):
        assert "warning" not in run(subscriptions.app, *MAKE[:-1], url).stderr


def test_networks() -> None:
    run(webhooks.app, "allow", "10.1.0.0/16", "--reason", "the warehouse")
    assert "the warehouse" in run(webhooks.app, "allowed").stdout
    assert [one["network"] for one in document(webhooks.app, "allowed")] == ["10.1.0.0/16"]
    run(webhooks.app, "disallow", "10.1.0.0/16", "--reason", "moved")
    assert document(webhooks.app, "allowed") == []
