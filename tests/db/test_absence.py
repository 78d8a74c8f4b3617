"""A SQLite file that is not there, and databases that do not answer: what people read, and that nothing is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from playhouse.pool import MaxConnectionsExceeded

from messagebroker.db import schema
from messagebroker.db.connection import NoDatabase, connected, open_database, unavailable
from messagebroker.db.writing import kept_connection
from messagebroker.errors import ConfigurationError, Unavailable
from messagebroker.settings import load


@pytest.mark.parametrize("has_folder", [True, False])
def test_asking_a_database_that_is_not_there_makes_nothing(tmp_path: Path, has_folder: bool) -> None:
    folder = tmp_path / "data"
    if has_folder:
        folder.mkdir()
    path = folder / "message_system.db"
    open_database(load({}, data_dir=folder, environment="test"))
    assert schema.status().absent == path
    assert schema.status().missing[0] == "001_initial"
    for block in (connected, kept_connection):
        with pytest.raises(NoDatabase, match="DATABASE_URL") as caught, block():
            pass
        assert f"no database {path}" in str(caught.value)
        assert (f"the folder {folder} does not exist" in str(caught.value)) != has_folder
    with pytest.raises(ConfigurationError, match="messagebroker db upgrade"):
        schema.require_current()
    assert list(tmp_path.rglob("*")) == ([folder] if has_folder else [])


def test_an_upgrade_makes_the_folder_and_the_file(tmp_path: Path) -> None:
    open_database(load({}, data_dir=tmp_path, environment="test", database_url=f"sqlite:///{tmp_path}/a/b/x.db"))
    assert schema.upgrade().is_current
    assert (tmp_path / "a" / "b" / "x.db").exists()


def test_where_no_database_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    open_database(load({}, data_dir=tmp_path, environment="test", database_url=f"sqlite:///{tmp_path}/file/x.db"))
    with pytest.raises(ConfigurationError, match=r"cannot make the database .*file[\\/]x\.db \(DATABASE_URL"):
        schema.upgrade()


def test_an_outage_is_told_with_the_place_and_the_next_step_and_without_the_password(tmp_path: Path) -> None:
    url = "mysql://me:hunter2@127.0.0.1:1/orders"
    open_database(load({}, data_dir=tmp_path, database_url=url, database_connect_timeout=1))
    for block in (connected, kept_connection):
        with pytest.raises(Unavailable) as caught, block():
            pass
        said = str(caught.value)
        assert said.startswith("the database 127.0.0.1:1/orders (DATABASE_URL) does not answer: Can't connect")
        assert said.endswith("; start it, or correct DATABASE_URL")
        assert "hunter2" not in said
    assert "DATABASE_POOL_SIZE" in str(unavailable(MaxConnectionsExceeded()))
