"""Files for their owner alone: rights, no overwriting, whole or not there."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from messagebroker.errors import BrokerError, ConfigurationError, Refused
from messagebroker.ops import private_files
from messagebroker.ops.private_files import exclusive, is_private, read_secret, write_public, write_secret

posix = os.name == "posix"


def test_a_secret_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "a.key"
    before = os.umask(0)
    try:
        write_secret(path, b"one")
    finally:
        os.umask(before)
    assert read_secret(path) == b"one"
    assert is_private(path)
    if posix:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_overwriting_tightens_the_rights(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(b"one")
    path.chmod(0o644)
    assert is_private(path) is not posix
    write_secret(path, b"two", overwrite=True)
    assert is_private(path)
    assert path.read_bytes() == b"two"


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    write_secret(path, b"one")
    for write in (write_secret, write_public):
        with pytest.raises(Refused, match=r"a\.key exists"):
            write(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_writers_at_once_exactly_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    barrier = threading.Barrier(8)

    def attempt(number: int) -> int | None:
        barrier.wait()
        try:
            write_secret(path, str(number).encode() * 1000)
        except Refused:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(attempt, range(8)) if number is not None]
    assert len(winners) == 1
    assert path.read_bytes() == str(winners[0]).encode() * 1000
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.key"
    write_secret(path, b"one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(private_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_secret(path, b"two", overwrite=True)
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, b""])
def test_a_missing_or_empty_secret_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"a\.key is (missing|empty)"):
        read_secret(path)


def test_a_directory_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_secret(tmp_path)


def test_exclusive_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []

    def work(number: int) -> None:
        with exclusive(tmp_path / "ring"):
            inside.append(number)
            assert len(inside) == 1
            time.sleep(0.02)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with pytest.raises(BrokerError, match="boom"), exclusive(tmp_path / "ring"):
        raise BrokerError("boom")
    with exclusive(tmp_path / "ring"):
        inside.append(1)  # the failed block let go
