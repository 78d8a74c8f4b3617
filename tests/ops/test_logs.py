from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from messagebroker.ops import logs
from messagebroker.settings import Settings, load


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = list(root.handlers), root.level, threading.excepthook
    yield
    for handler in list(root.handlers):
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level, threading.excepthook = handlers, level, hook
    structlog.reset_defaults()


def lines(settings: Settings, name: str = "proxy.log") -> list[dict[str, object]]:
    text = (settings.data_dir / "logs" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_lines_are_json_in_the_file_of_the_role(settings: Settings) -> None:
    logs.configure(settings, "proxy", console=False)
    structlog.get_logger("a.b").info("accepted", messages=3)
    logging.getLogger("c").warning("of %s", "a library")
    first, second = lines(settings)
    assert (first["event"], first["messages"], first["role"], first["level"], first["logger"]) == (
        "accepted",
        3,
        "proxy",
        "info",
        "a.b",
    )
    assert str(first["timestamp"]).endswith("Z")
    assert (second["event"], second["level"]) == ("of a library", "warning")


def test_whether_an_error_is_seen_on_the_console(tmp_path: Path) -> None:
    def shown(*, console: bool, **overrides: object) -> bool:
        logs.configure(load({}, data_dir=tmp_path, **overrides), "proxy", console=console)
        return logs.shows_errors()

    assert shown(console=True)
    assert not shown(console=False)
    assert shown(console=False, log_file_path=None), "there is nowhere else"
    assert not shown(console=True, log_level="CRITICAL")


def test_what_is_below_the_level_is_left_out(tmp_path: Path) -> None:
    settings = load({"LOG_LEVEL": "warning"}, data_dir=tmp_path)
    logs.configure(settings, "proxy", console=False)
    structlog.get_logger("a.b").info("small talk")
    structlog.get_logger("a.b").warning("news")
    assert [line["event"] for line in lines(settings)] == ["news"]


def test_each_process_of_a_role_has_its_own_file(settings: Settings) -> None:
    logs.configure(settings, "worker", console=False, instance=2)
    structlog.get_logger().info("here")
    assert lines(settings, "worker-2.log")


def test_secrets_are_masked(settings: Settings) -> None:
    logs.configure(settings, "proxy", console=False)
    log = structlog.get_logger()
    log.info("x", password="hunter2", access_token="hunter2", url="redis://:hunter2@host:1/0", jwt_secret="hunter2")
    log.info("Authorization: Bearer hunter2.hunter2", dsn="mysql://me:hunter2@db/x")
    try:
        raise ValueError("cannot open mysql://me:hunter2@db/x")
    except ValueError:
        log.exception("failed")
    text = (settings.data_dir / "logs" / "proxy.log").read_text(encoding="utf-8")
    assert "hunter2" not in text
    assert "redis://:***@host:1/0" in text
    assert "cannot open mysql://me:***@db/x" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fail_with_a_body_in_hand() -> None:
    body = "".join(reversed("ereh si htlaew terces"))  # so that no line of this file has it
    raise ValueError(f"{len(body)} characters for mysql://me:hunter2@db/x")


def test_neither_terminal_nor_file_shows_local_variables(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who develops sees plain tracebacks too: what is logged there may be the body of a message."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    logs.configure(settings, "proxy")
    try:
        fail_with_a_body_in_hand()
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("a.library").exception("failed too")
    for text in (terminal.getvalue(), (settings.data_dir / "logs" / "proxy.log").read_text(encoding="utf-8")):
        assert text.count("ValueError: 21 characters for mysql://me:***@db/x") == 2
        assert text.count("in fail_with_a_body_in_hand") == 2
        assert "secret wealth" not in text


def test_commands_show_no_local_variables_either(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    logs.for_commands()
    try:
        fail_with_a_body_in_hand()
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError: 21 characters for mysql://me:***@db/x" in terminal.getvalue()
    assert "secret wealth" not in terminal.getvalue()


def test_an_error_that_ends_a_thread_is_logged(settings: Settings) -> None:
    logs.configure(settings, "proxy", console=False)
    thread = threading.Thread(target=lambda: 1 / 0, name="doomed")
    thread.start()
    thread.join()
    (line,) = lines(settings)
    assert line["event"] == "thread doomed ended by an error"
    assert "ZeroDivisionError" in str(line["exception"])


def test_without_a_log_folder_everything_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(load({"LOG_FILE_PATH": ""}, data_dir=tmp_path), "proxy", console=False)
    structlog.get_logger().warning("seen")
    assert json.loads(capsys.readouterr().err)["event"] == "seen"
    assert not (tmp_path / "logs").exists()
