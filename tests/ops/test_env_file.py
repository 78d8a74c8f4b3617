from __future__ import annotations

import io
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from messagebroker.errors import ConfigurationError
from messagebroker.ops import env_file


def read(text: str) -> dict[str, str | None]:
    return dict(dotenv_values(stream=io.StringIO(text), interpolate=False))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_whatever_is_written_is_read_back_or_refused(value: str) -> None:
    try:
        text = env_file.line("SECRET", value)
    except ConfigurationError:
        return
    assert read(f"A=1\n{text}B='2'\n") == {"A": "1", "SECRET": value, "B": "2"}


@pytest.mark.parametrize(
    "value",
    [
        "mysql+pymysql://systemuser:p%40ss#w$rd@db:3306/message_system?ssl=1",
        r"C:\MessageBroker\logs",
        "a 'quoted' \"word\" # no comment",
        " blank at both ends ",
        "two\nlines",
        "",
        "naïve=€",
    ],
)
def test_values_that_happen_can_be_written(value: str) -> None:
    assert read(env_file.line("NAME", value)) == {"NAME": value}


def test_a_path_of_windows_stays_as_people_write_it() -> None:
    assert env_file.line("LOG_FILE_PATH", r"C:\MessageBroker\logs") == "LOG_FILE_PATH=C:\\MessageBroker\\logs\n"


def test_everything_else_in_a_file_stays_where_it_is() -> None:
    text = "# our broker\n\nLOG_LEVEL=INFO  # loud\nexport REDIS_URL='redis://old'\n\nPROXY_PORT=8001"
    new = env_file.changed(text, {"REDIS_URL": "redis://new", "JWT_SECRET": "x"}, without={"PROXY_PORT"})
    assert new == "# our broker\n\nLOG_LEVEL=INFO  # loud\nREDIS_URL=redis://new\n\nJWT_SECRET=x\n"
    assert env_file.changed(new, {"REDIS_URL": "redis://new", "JWT_SECRET": "x"}) == new


def test_a_variable_that_is_written_twice_or_in_small_letters_is_changed_everywhere() -> None:
    assert env_file.changed("a=1\nA=2\nB=3\n", {"A": "4"}) == "A=4\nB=3\n"
    assert env_file.changed("jwt_secret=1\nB=3\n", {}, without={"JWT_SECRET"}) == "B=3\n"
    assert env_file.names("jwt_secret=1\n# C=3\nB=3\n") == {"JWT_SECRET", "B"}


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    assert env_file.read(tmp_path / "none") == ""
    (tmp_path / ".env").write_bytes(b"NAME=\xff\n")
    with pytest.raises(ConfigurationError, match=r"\.env cannot be read"):
        env_file.read(tmp_path / ".env")
