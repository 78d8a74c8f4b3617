from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import peewee as pw
import psutil
import pytest
from support.installed import Installed, forget_written_keys, url_of
from support.servers import SqlServer

from messagebroker.db import inspection, schema
from messagebroker.db.address import Address
from messagebroker.db.connection import open_database
from messagebroker.errors import ConfigurationError, Unavailable
from messagebroker.ops import dump, dump_tools
from messagebroker.ops.dump import RowCounter
from messagebroker.settings import Settings, load

PASSWORD = "pass word#';\"\\%$xß日"


@pytest.fixture
def odd_password(sql_server: SqlServer, tmp_path: Path) -> Iterator[Settings]:
    """A user whose password needs quoting everywhere."""
    url = sql_server.fresh_user("odd", PASSWORD)
    settings = load({}, data_dir=tmp_path, environment="test", database_url=url)
    opened = open_database(settings)
    schema.upgrade()
    yield settings
    opened.close_all()


def test_the_password_is_in_no_argument_and_no_environment(odd_password: Settings, tmp_path: Path) -> None:
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        me = psutil.Process()
        while not stop.is_set():
            for child in me.children(recursive=True):
                try:
                    if "dump" in child.name() or "mysql" in child.name() or "mariadb" in child.name():
                        seen.add(" ".join(child.cmdline()) + str(child.environ()))
                except psutil.Error:
                    continue

    class Slow(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            time.sleep(0.001)
            return super().write(data)

    watcher = threading.Thread(target=watch)
    watcher.start()
    target = Slow()
    try:
        dump.write(odd_password, target, scratch=tmp_path)
        target.seek(0)
        dump.load(odd_password, target, scratch=tmp_path)
    finally:
        stop.set()
        watcher.join()
    assert any("--single-transaction" in words for words in seen)
    assert not [words for words in seen if PASSWORD in words or "pass word" in words]


def test_the_option_file_is_private_and_gone_afterwards(odd_password: Settings) -> None:
    with dump_tools.option_file(Address.of(odd_password)) as argument:
        path = Path(argument.partition("=")[2])
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.parent.exists()


def test_a_dump_knows_its_rows_and_loads_back(database: pw.Database, tmp_path: Path) -> None:
    forget_written_keys()
    installed = Installed(tmp_path, database_url=url_of(database))
    strange = "it's (not) \\ a 'row', (\"really\"); INSERT INTO `messages` VALUES (1)\n\0\x1a%s ü 日本"
    installed.store(40, correlation_id=strange)
    installed.store(3)
    target = io.BytesIO()
    rows = dump.write(installed.settings, target, scratch=tmp_path)
    assert rows == inspection.count_rows()
    assert rows["messages"] == 43
    target.seek(0)
    inspection.drop_all_tables()
    dump.load(installed.settings, target, scratch=tmp_path)
    assert inspection.count_rows() == rows
    from messagebroker.db.models import Message

    assert Message.select().where(Message.correlation_id == strange).count() == 40


def test_rows_are_counted_in_every_way_in_which_dumps_are_written() -> None:
    counter = RowCounter()
    lines = [
        b"-- MySQL dump\n",
        b"CREATE TABLE `empty` (\n",
        b"  `id` int DEFAULT '(1)'\n",
        b") ENGINE=InnoDB;\n",
        b"INSERT INTO `one line` VALUES (1,'a(b'),(2,'it\\'s ('),(3,NULL,0x28);\n",
        b"INSERT INTO `one line` VALUES (4,'''(');\n",
        b"INSERT INTO `many` VALUES\n",
        b"(1,'x'),\n",
        b"(2,');('),\n",
        b"(3,'');\n",
        b"-- not a row (really)\n",
        b"INSERT INTO `named` (`a`, `b`) VALUES (1,2),(3,4);\n",
        b"-- Dump completed on 2030-01-31\n",
        b"\n",
    ]
    for line in lines:
        counter.feed(line)
    assert counter.rows == {"empty": 0, "one line": 4, "many": 3, "named": 2}
    assert counter.last.startswith(b"-- Dump completed")


def test_a_refused_dump_says_what_the_program_said(sql_server: SqlServer, tmp_path: Path) -> None:
    url = f"mysql://systemuser:wrong@127.0.0.1:{sql_server.port}/message_system"
    settings = load({}, data_dir=tmp_path, environment="test", database_url=url)
    with pytest.raises(Unavailable, match="Access denied for user 'systemuser'") as caught:
        dump.write(settings, io.BytesIO(), scratch=tmp_path)
    assert "wrong" not in str(caught.value)


def test_a_refused_load_says_what_the_program_said(odd_password: Settings, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="syntax"):
        dump.load(odd_password, io.BytesIO(b"-- first\nNOT SQL AT ALL;\n" * 200_000), scratch=tmp_path)


def test_a_dump_that_stops_early_is_no_dump(odd_password: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends well in the middle: exit status 0 proves nothing."""
    fake = tmp_path / "fake.py"
    fake.write_text("print('-- MySQL dump')\nprint('CREATE TABLE `x` (')\n", encoding="utf-8")
    monkeypatch.setattr(dump_tools, "dumper", lambda: sys.executable)
    monkeypatch.setattr(dump, "_OPTIONS", ())
    script = dump_tools.option_file

    from contextlib import contextmanager

    @contextmanager
    def instead(address: Address) -> Iterator[str]:
        with script(address):
            yield str(fake)

    monkeypatch.setattr(dump_tools, "option_file", instead)
    with pytest.raises(Unavailable, match="before its last line"):
        dump.write(odd_password, io.BytesIO(), scratch=tmp_path)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match=r"neither mysqldump nor mariadb-dump.*apt install mariadb-client"):
        dump_tools.dumper()
