"""`messagebroker email bounce`, as a mail server calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.bounces import Sent, notification
from typer.testing import CliRunner, Result

from messagebroker.cli import email
from messagebroker.cli.actor import this_user
from messagebroker.db import schema
from messagebroker.db.connection import connected, open_database
from messagebroker.errors import NotFound
from messagebroker.ops import audit, keyring
from messagebroker.settings import Settings, load


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ENVIRONMENT", "test")
    settings = load()
    open_database(settings)
    schema.upgrade()
    keyring.create_master_key(settings)
    return settings


def run(*words: str, given: bytes = b"") -> Result:
    result = CliRunner().invoke(email.app, ["bounce", *words], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_from_a_pipe_and_from_a_file(home: Settings, tmp_path: Path) -> None:
    with connected():
        sent, second = Sent(home), Sent(home)
    raw = notification(sent.mail)
    piped = run(given=raw)
    assert piped.exit_code == 0
    assert f"{sent.messages[0]}: the delivery was delivered and has failed now" in piped.stdout
    assert "already" in run("-", given=raw).stdout
    (tmp_path / "one.eml").write_bytes(notification(second.mail))
    assert json.loads(run("one.eml", "--json").stdout) == {second.messages[0]: "failed"}
    assert audit.page(limit=1)[0].actor == this_user().name


def test_what_is_no_bounce_of_ours_is_no_error(home: Settings) -> None:
    """A mail server would send a bounce of its own about whatever this command does not take."""
    ignored = run(given=b"Subject: hello\r\n\r\nA letter.\r\n")
    assert (ignored.exit_code, ignored.stdout.startswith("ignored")) == (0, True)
    assert json.loads(run("--json", given=b"").stdout) == {}


@pytest.mark.parametrize("url", ["sqlite:///nowhere.db", "mysql://a:b@127.0.0.1:1/x"])
def test_without_the_database_it_is_to_be_tried_again(home: Settings, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with connected():
        sent = Sent(home)
    monkeypatch.setenv("DATABASE_URL", url)
    later = run(given=notification(sent.mail))
    assert later.exit_code == email.TRY_AGAIN
    assert "DATABASE_URL" in later.stderr


def test_a_file_that_is_not_there(home: Settings) -> None:
    with pytest.raises(NotFound, match=r"missing\.eml"):
        run("missing.eml")
